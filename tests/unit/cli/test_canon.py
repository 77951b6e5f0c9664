"""`canon list` and `canon show`: the library as text, as JSON, as a governance file and as JSON Schema."""

from __future__ import annotations

import json
import subprocess
import sys

import jsonschema_rs
from typer.testing import CliRunner, Result

from counterfoil.canon.library import library
from counterfoil.cli.canon import canon
from counterfoil.cli.failure import CommandFailed
from counterfoil.model.source import parse


def run(*words: str) -> Result:
    return CliRunner().invoke(canon, words)


def test_every_document_is_listed_with_its_workflows() -> None:
    rows = json.loads(run("list", "--format", "json").stdout)
    assert len(rows) == len(library().documents)
    by_name = {row["name"]: row for row in rows}
    assert by_name["invoice"]["version"] == 1
    assert "invoice-to-erp" in by_name["invoice"]["workflows"]
    assert by_name["quote"]["workflows"] == []
    lines = run("list").stdout.splitlines()
    assert [line for line in lines if " payout " in line and "not used by a workflow yet" in line]


def test_a_document_is_shown_as_a_governance_file_and_as_json_schema() -> None:
    (source,), findings = parse(run("show", "invoice").stdout, "invoice.yaml")
    assert findings == []
    assert source.data["fields"]["total"] == "money"
    schema = json.loads(run("show", "invoice@1", "--format", "json-schema").stdout)
    jsonschema_rs.meta.validate(schema)
    assert schema["properties"]["total"]["x-type"] == "money"
    operation = json.loads(run("show", "erp.credit.apply", "--format", "json-schema").stdout)
    assert set(operation["properties"]) == {"input", "output"}


def test_an_unknown_name_or_version_says_what_there_is() -> None:
    texts = {name: run("show", name).exception for name in ("invoic", "invoice@2", "invoice@", "zebra")}
    assert all(isinstance(error, CommandFailed) for error in texts.values())
    assert str(texts["invoic"]).endswith("did you mean `invoice`?")
    assert str(texts["invoice@2"]).endswith("use invoice@1")
    assert str(texts["zebra"]).endswith("run `counterfoil canon list`")


def test_the_list_starts_without_the_modules_of_governance() -> None:
    code = (
        "import sys; from counterfoil.canon.library import library; import counterfoil.cli.canon; library();"
        "print([name for name in sys.modules if name in ('pydantic', 'counterfoil.model')])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
