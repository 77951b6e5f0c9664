"""Examples in the documents are good ones: they are read by the code that they are meant for."""

from __future__ import annotations

import base64
import hashlib
import re
import textwrap

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from ruamel.yaml import YAML

from counterfoil.model import Model, checks
from counterfoil.model.kinds import KINDS
from counterfoil.people_file import PeopleFileEntry
from tests.source import ROOT


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text("utf-8")
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.M | re.S)


def test_the_people_file_on_the_page_is_one() -> None:
    (text,) = blocks("reference/configuration.md", "json")
    (account,) = msgspec.json.decode(text.encode(), type=list[PeopleFileEntry])
    page = (ROOT / "docs/reference/configuration.md").read_text("utf-8")
    rows = {
        name for names in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", page, re.M) for name in names.split(", ")
    }
    assert {f"`{field}`" for field in msgspec.structs.asdict(account)} <= rows


def test_the_system_on_the_page_is_one() -> None:
    (text,) = blocks("how-to/add-a-system.md", "yaml")
    found = YAML(typ="safe", pure=True).load(text)
    assert KINDS["system"].model_validate(found).name == "bank"


def test_the_versions_on_the_page_become_each_other() -> None:
    role = {"kind": "role", "name": "finance-systems"}
    bills = {
        "kind": "system",
        "name": "bills",
        "role": "billing",
        "connector": "external",
        "owner": "finance-systems",
    }
    fields = {"gross": "money", "total": "money"}
    invoice = {"kind": "object", "name": "invoice", "system": "bills", "fields": fields}
    data = {"invoice_id": "id", "total": "money", "memo?": "string"}
    old = {
        "kind": "event",
        "name": "invoice.finalized.v1",
        "object": "invoice",
        "produced": "http",
        "data": data,
    }
    loader = YAML(typ="safe", pure=True)
    texts = [textwrap.dedent(block) for block in blocks("how-to/change-a-contract-version.md", "yaml")]
    documents = [d for text in texts for d in loader.load_all(text)]
    old |= next(d for d in documents if "kind" not in d)
    old["deprecated"] = {k: str(v) for k, v in old["deprecated"].items()}
    model = Model.from_documents([role, bills, invoice, old, *(d for d in documents if "kind" in d)])
    assert checks.check(model) == []
    assert model.versions.path("invoice.finalized.v1", "invoice.finalized.v2")
    assert model.versions.path("invoice.finalized.v2", "invoice.finalized.v1")


def test_the_checkpoint_on_the_page_verifies() -> None:
    page = (ROOT / "docs/explanation/audit.md").read_text("utf-8")
    (note,) = [block for block in blocks("explanation/audit.md", "") if "\u2014" in block]
    line = re.search(r"`(counterfoil\.local\+[0-9a-f]{8}\+\S+)`", page)
    assert line is not None
    name, number, key = line[1].split("+", 2)
    body, _, signed = note.partition("\n\n")
    signature = base64.b64decode(signed.split()[-1])
    public = base64.b64decode(key)
    identity = hashlib.sha256(name.encode() + b"\n" + public).digest()[:4]
    assert signature[:4] == identity == bytes.fromhex(number)
    Ed25519PublicKey.from_public_bytes(public[1:]).verify(signature[4:], f"{body}\n".encode())
    assert body.split("\n")[0] == name
