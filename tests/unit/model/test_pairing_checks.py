"""Findings about the keys of reconciliations that pair without a common key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from counterfoil.model import read
from tests.companies.base import COMPLETE_POLICY, documents, write
from tests.source import ROOT

PAGE = ROOT / "docs" / "how-to" / "match-without-a-common-key.md"
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("document: event.data.id + '/' + item.invoice", "document: event.data.id", "does not read `item`"),
        ("absorbed_by: treasury", "absorbed_by: treasurer", "treasurer"),
        ("{tolerance: 500, absorbed", "{absorbs: short, absorbed", "write its `tolerance`"),
        ("window: 5d", "window: 5h", "window"),
        ("key: [payer]", "key: [payer, customer]", "needs one key column"),
        ("remember: {table: payer_customers}", "remember: {table: payers}", "payers"),
        ("first(table('payer_customers', event.data.payer), event.data.payer)", "event.data.payer", "nothing would be remembered"),
        ("find_all('INV-[0-9]+')", "find_all('INV-[0-9')", "bad pattern"),
        ("each: event.data.lines", "each: event.data.amount", "list"),
        ("object: wire\nkey: id\n", "", "needs an event about an object"),
    ],
)  # fmt: skip
def test_a_fault_is_reported(tmp_path: Path, before: str, after: str, message: str) -> None:
    (tmp_path / "payer_customers.csv").write_text("payer,customer\n", "utf-8")
    text = documents(COMPLETE_POLICY, *BLOCKS)
    assert before in text
    _, findings = read(write(tmp_path, text.replace(before, after)))
    assert any(message in str(finding) for finding in findings), [str(finding) for finding in findings]
