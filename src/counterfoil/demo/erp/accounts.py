"""Accounts of the company's persons in the ERP, with the passwords that the demonstration prints."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import msgspec

from counterfoil.core.private_file import write_private
from counterfoil.demo.erp.prepare import DATABASE, SEED
from counterfoil.demo.people import Member

GROUPS = {
    "finance-operations": ("Accounting",),
    "controller": ("Accounting", "Accounting Administration"),
}
"""Groups of the ERP by role of the company; every other role may only read the books."""
READERS = ("Book readers",)


def open_accounts(folder: Path, persons: Path) -> None:
    """Give the persons of this file users in the ERP with their passwords, unless an earlier start has done it.

    A person may work for each company, and begins with the first.

    Call it in the serving process, after the ERP's application has loaded the database.
    """
    content = persons.read_bytes()
    seed, digest = json.loads((folder / SEED).read_bytes()), hashlib.sha256(content).hexdigest()
    if seed.get("persons_sha256") == digest:
        return
    # Late import: the ERP's pool reads its configuration when it is imported.
    from trytond.pool import Pool
    from trytond.transaction import Transaction

    companies = [books["company"] for books in seed["companies"].values()]
    members = msgspec.json.decode(content, type=list[Member])
    with Transaction().start(DATABASE, 1):
        users, groups = Pool().get("res.user"), Pool().get("res.group")
        existing = {user.login: user for user in users.search([])}
        for member in members:
            if member.id in existing:
                users.write([existing[member.id]], {"password": member.password})
                continue
            names = GROUPS.get(member.role, READERS)
            member_of = [group.id for group in groups.search([("name", "in", names)])]
            users.create([{
                "name": member.name, "login": member.id, "password": member.password,
                "companies": [("add", companies)], "company": seed["company"],
                "groups": [("add", member_of)],
            }])  # fmt: skip
    admin = next(member.password for member in members if member.id == "admin")
    seed |= {"admin_password": admin, "persons_sha256": digest}
    write_private(folder / SEED, json.dumps(seed, indent=1).encode())
