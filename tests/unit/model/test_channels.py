"""Channels of notices as documents: their form, and the roles and legal entities that they name."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterfoil.model import read
from tests.companies.base import write
from tests.companies.clean import COMPANY
from tests.unit.model.test_legal_entities import DE, US

CHANNEL = """\
---
kind: channel
name: chat
owner: finance
webhook: {url: env:CHAT_URL, secret: env:CHAT_SECRET}
roles: [finance]
"""


def test_a_channel_is_read_with_its_defaults(tmp_path: Path) -> None:
    model, findings = read(write(tmp_path, COMPANY + CHANNEL))
    assert [str(finding) for finding in findings] == []
    channel = model.channels["chat"]
    assert (channel.notices, channel.entities, channel.webhook.private) == (None, None, False)


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("roles: [finance]", "roles: [nobody-here]", "there is no role `nobody-here`"),
        ("roles: [finance]", "roles: [finance]\nentities: [acme-fr]", "acme-fr"),
        ("roles: [finance]", "roles: []", "roles"),
        ("env:CHAT_SECRET", "whsec_plain", "secret"),
        ("env:CHAT_URL", "https://chat.example/T0/B0", "url"),
        ("roles: [finance]", "roles: [finance]\nnotices: [gossip]", "gossip"),
    ],
)
def test_a_fault_of_a_channel_is_a_finding(tmp_path: Path, old: str, new: str, part: str) -> None:
    _, findings = read(write(tmp_path, COMPANY + US + DE + CHANNEL.replace(old, new)))
    assert any(part in str(finding) and finding.severity == "error" for finding in findings), findings


MAIL = CHANNEL.replace(
    "webhook: {url: env:CHAT_URL, secret: env:CHAT_SECRET}",
    "mail: {host: smtp.example.com, sender: notices@example.com, user: env:MAIL_USER, password: env:MAIL_PASSWORD}",
)


def test_a_channel_of_mails_is_encrypted_by_default(tmp_path: Path) -> None:
    model, findings = read(write(tmp_path, COMPANY + MAIL))
    assert [str(finding) for finding in findings] == []
    mail = model.channels["chat"].mail
    assert mail is not None
    assert (mail.port, mail.tls, mail.private) == (587, "starttls", False)


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("host: smtp.example.com", "host: smtp.example.com, tls: none", "without TLS needs `private: true`"),
        (
            "host: smtp.example.com",
            "host: smtp.example.com, tls: none, private: true",
            "sign-in to a mail server",
        ),
        (", password: env:MAIL_PASSWORD", "", "belong together"),
        ("env:MAIL_PASSWORD", "plain", "password"),
        ("notices@example.com", '"a@b.c\\nBcc: d@e.f"', "sender"),
        ("host: smtp.example.com", "host: smtp.example.com/x", "host"),
        ("mail: {", "webhook: {url: env:CHAT_URL, secret: env:CHAT_SECRET}\nmail: {", "exactly one of"),
    ],
)
def test_a_fault_of_a_channel_of_mails_is_a_finding(tmp_path: Path, old: str, new: str, part: str) -> None:
    _, findings = read(write(tmp_path, COMPANY + MAIL.replace(old, new)))
    assert any(part in str(finding) and finding.severity == "error" for finding in findings), findings
