"""A secret in a file is named by its key and place; no finding shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterfoil.change.connector_checks import ConnectorChecks
from counterfoil.core.finding import Finding
from counterfoil.model import read

SYSTEM = """kind: role
name: finance
---
kind: system
name: billing
role: billing
connector: stripe
owner: finance
"""
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl"


def findings_of(folder: Path, text: str) -> list[Finding]:
    (folder / "company.yaml").write_text(text, "utf-8")
    return read(folder, also=ConnectorChecks(folder))[1]


CASES = [
    ("secrets: {api_key: SECRET}", "hunter2"),
    ("secrets: {api_key: SECRET}", "abc"),
    ("secrets: {api_key: SECRET}", "x" * 200),
    ("secrets: {api_key: SECRET}", "12345678"),
    ("secrets: SECRET", "a-password-of-ours"),
    ("secrets: [SECRET]", "a-password-of-ours"),
    ("secrets: {SECRET: api_key}", "sk_live_abcdef123456"),
    ("secrets: {SECRET}", "Zq7hunter2Xyz"),
    ("settings: {api_key: SECRET}", "hunter2"),
    ("settings: {deep: [{password: SECRET}]}", "hunter2"),
    ("settings: {zone: SECRET}", "sk_live_abcdef123456"),
    ("settings: {loopback: SECRET}", "whsec_bGVkZ2VyLWhvb2s="),
    ("url: https://me:SECRET@billing.example.com", "hunter2"),
    ("url: ftp://me:SECRET@billing.example.com", "hunter2"),
    ("account: SECRET", TOKEN),
    ("caps: SECRET", TOKEN),
    ("colour: SECRET", TOKEN),
    ("password: SECRET", "hunter2"),
]


@pytest.mark.parametrize(("line", "secret"), CASES)
def test_no_finding_shows_a_secret(tmp_path: Path, line: str, secret: str) -> None:
    findings = findings_of(tmp_path, SYSTEM + line.replace("SECRET", secret) + "\n")
    assert any(f.line == 9 and f.severity == "error" for f in findings)
    assert [f for f in findings if secret[:50] in f.message + f.fix] == []


@pytest.mark.parametrize(("line", "secret"), CASES)
def test_an_overlay_hides_it_too(tmp_path: Path, line: str, secret: str) -> None:
    key, _, value = line.replace("SECRET", secret).partition(": ")
    overlay = f"---\nkind: overlay\nname: test\nof: {{environment: test}}\nchanges:\n  - kind: system\n    name: billing\n    set:\n      {key}: {value}\n"
    findings = findings_of(tmp_path, SYSTEM + "secrets: {api_key: env:KEY}\n" + overlay)
    assert findings
    assert [f for f in findings if secret[:50] in f.message + f.fix] == []


def test_key_and_place_are_named(tmp_path: Path) -> None:
    text = SYSTEM + "settings:\n  api_version: x\n  client_secret: hunter2\nsecrets: {api_key: env:KEY}\n"
    finding = next(f for f in findings_of(tmp_path, text) if f.rule == "secret-in-file")
    assert (finding.line, finding.message) == (11, "`client_secret` contains a secret in plain text")


def test_a_token_in_any_document_is_a_finding(tmp_path: Path) -> None:
    text = (
        SYSTEM
        + f"---\nkind: table\nname: t\nowner: finance\nkey: [a]\nvalue: b\nrows: [{{a: x, b: {TOKEN}}}]\n"
    )
    (finding,) = [f for f in findings_of(tmp_path, text) if f.rule == "secret-in-file"]
    assert finding.line == 15


def test_a_short_secret_hides_only_its_own_line(tmp_path: Path) -> None:
    text = SYSTEM + "secrets: {api_key: role}\nrolle: x\n"
    messages = [f.message for f in findings_of(tmp_path, text)]
    assert "unknown key `rolle`" in messages
