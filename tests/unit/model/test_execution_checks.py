"""Declarations that nothing executes are a warning with their place."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterfoil.model import read
from tests.source import ROOT

START = "{kind: role, name: finance}\n---\n{kind: system, name: erp, role: erp, connector: external, owner: finance}\n---\n"
OBJECT = "{kind: object, name: invoice, system: erp, fields: {status: string}}\n---\n"
EVENT = "{kind: event, name: invoice.changed.v1, object: invoice, owner: finance, key: id, produced: mapping, data: {id: string}}\n---\n"
MAPPING = "kind: mapping\nname: m\nemit: {type: invoice.changed.v1, key: =body.id, data: {id: =body.id}}\n"
READ = "{kind: operation, name: erp.invoice.get, system: erp, owner: finance, repeat: read, executor: external, input: {id: string}}\n---\n"
LIMIT = "kind: policy\nname: p\nowner: finance\nlimit:\n  per: [event.data.customer_id]\n  negative: false\n"
DEAD = [
    ("kind: alert\nname: a\nowner: finance\nwhen: 'true'\nto: [finance]\n", 5, "the kind `alert`"),
    ("kind: state_map\nname: a\nobject: invoice\nsystem: erp\nmap: {a: b}\n", 5, "the kind `state_map`"),
    ("kind: policy\nname: a\nowner: finance\nretention: {receipts: 1d}\n", 8, "the policy `retention`"),
    ("kind: policy\nname: a\nowner: finance\ndegradation: {when_down: erp, then: queue}\n", 8, "the policy `degradation`"),
    (LIMIT + "  currency: USD\n  counts: [reserved]\n", 12, "`counts` of a limit"),
    (LIMIT + "  currency: {to: USD, rate: average}\n", 11, "`rate` of a limit"),
    (LIMIT + "  currency: {to: USD, at: posting_date}\n", 11, "`at` of a limit"),
    ("kind: calendar\nname: c\nowner: finance\ndates: {cut-off: 2026-12-03}\n", 8, "`dates` of a calendar"),
    (EVENT + MAPPING + "from: {system: erp, type: t, api_version: v1}\n", 10, "`api_version` of a mapping"),
    (
        EVENT + READ + MAPPING + "from: {system: erp, type: t}\nfetch: {call: erp.invoice.get, with: {id: =body.id}, pages: [lines]}\n",
        13,
        "`pages` of a `fetch`",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "what"), DEAD)
def test_a_declaration_without_effect_is_a_warning(tmp_path: Path, text: str, line: int, what: str) -> None:
    (tmp_path / "company.yaml").write_text(START + OBJECT + text)
    findings = read(tmp_path)[1]
    (finding,) = [f for f in findings if f.rule == "not-executed"]
    assert (finding.severity, finding.line) == ("warning", line + 2)
    assert finding.message.startswith(f"{what} is not executed by this version: ")
    assert [f for f in findings if f.severity == "error"] == []


def test_what_is_executed_gives_no_warning(tmp_path: Path) -> None:
    assert [f for f in read(ROOT / "examples" / "acme")[1] if f.rule == "not-executed"] == []
    text = LIMIT + "  currency: {to: USD, rate: spot, at: request_date}\n  counts: [consumed, reserved]\n"
    (tmp_path / "company.yaml").write_text(START + text)
    assert read(tmp_path)[1] == []
