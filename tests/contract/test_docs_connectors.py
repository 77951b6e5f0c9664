"""The page on writing connectors says what is so."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from ruamel.yaml import YAML

from counterfoil.connectors import conformance, openapi
from counterfoil.connectors.openapi.settings import PROOFS
from counterfoil.connectors.sdk import OperationSpec, Repeat, SystemConfig
from tests.contract.ledger_server import DOCUMENT, TOKEN
from tests.contract.trial_http import HOOK_SECRET

PAGE = (Path(__file__).parents[2] / "docs/how-to/write-a-connector.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_settings_on_the_page_build_a_connector() -> None:
    (text,) = blocks("yaml")
    settings = YAML(typ="safe", pure=True).load(text)
    settings["openapi"] = str(DOCUMENT.with_name(settings["openapi"]))
    secrets = {"token": TOKEN, "hook_secret": HOOK_SECRET}
    declared = {
        name: OperationSpec(name, repeat, horizon=60)
        for name, repeat in (("erp.payment.post", Repeat.FIND), ("erp.invoice.get", Repeat.READ))
    }
    connector = openapi.connect(
        SystemConfig(
            "ledger", "https://ledger.example.com", settings=settings, secrets=secrets, operations=declared
        )
    )
    assert set(connector.operations) == {"erp.payment.post", "erp.invoice.get"}
    assert connector.feeds == ("changes",)
    assert tuple(connector.listings) == ("invoices",)


def test_the_call_of_the_suite_on_the_page_names_what_is_there() -> None:
    (text,) = blocks("python")
    tree = ast.parse(text)
    for call in ast.walk(tree):
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Name)
            and call.func.id in ("Samples", "OperationSample")
        ):
            fields = set(getattr(conformance, call.func.id).__dataclass_fields__)
            assert {keyword.arg for keyword in call.keywords} <= fields


def test_the_listed_proofs_and_kinds_of_repeat_are_those_of_the_code() -> None:
    documented = re.search(r"by default ([\d,\sand]+)\(`proofs`\)", PAGE)
    assert documented is not None
    assert tuple(map(int, re.findall(r"\d+", documented[1]))) == PROOFS
    rows = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert set(Repeat) - {Repeat.READ} <= rows
