"""Builds the tracker: Roundup's classic template with the demonstration's fields, rules, statuses and users.

The folder holds `seed.json` (addresses, passwords, hook secret; readable by its owner only) and `tracker/`.
"""

from __future__ import annotations

import contextlib
import io
import json
import secrets
import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import roundup.configuration
import roundup.init
import roundup.instance
from roundup import password
from roundup.admin import AdminTool

from counterfoil.core.private_file import write_private
from counterfoil.demo.desk.fields import CREDIT_FIELDS, CREDIT_STATUSES, ROLES
from counterfoil.demo.people import Member

_DETECTOR = "from counterfoil.demo.desk.detector import init  # noqa: F401\n"
_SCHEMA = "\nfrom counterfoil.demo.desk.fields import extend\nextend(db, String, Integer)\n"
_ANONYMOUS = "# ANONYMOUS USER PERMISSIONS"
_FORM_ROW = ' <th i18n:translate="">Superseder</th>'


def prepare(folder: Path, port: int, hook: str, today: date | None = None) -> None:
    """Build the tracker in `folder` unless it exists, and write its addresses.

    With `today`, a new tracker gets a few ordinary tickets; one has an incident three days before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_addresses(folder, port, hook)
    home = folder / "tracker"
    if not home.exists():
        half = folder / "tracker.half"
        shutil.rmtree(half, ignore_errors=True)
        _build(half)
        _fill(half, read_seed(folder), today)
        half.chmod(0o700)  # config.ini has a secret key of Roundup
        half.rename(home)
    configure(folder)


def read_seed(folder: Path) -> dict[str, Any]:
    """Return the folder's addresses and secrets: `url`, `hook`, `hook_secret`, `users` {name: password}."""
    seed: dict[str, Any] = json.loads((folder / "seed.json").read_bytes())
    return seed


def write_addresses(folder: Path, port: int, hook: str | None) -> None:
    """Set port and hook in seed.json. The first call creates the secrets, which never change."""
    path = folder / "seed.json"
    if path.exists():
        seed = read_seed(folder)
    else:
        passwords = {name: secrets.token_urlsafe(18) for name in ("admin", *ROLES)}
        seed = {"hook_secret": secrets.token_hex(32), "users": passwords}
    seed["url"] = f"http://127.0.0.1:{port}/desk"
    if hook is not None:
        seed["hook"] = hook
    write_private(path, json.dumps(seed, indent=1).encode())


def configure(folder: Path) -> None:
    home = folder / "tracker"
    config = roundup.configuration.CoreConfig(str(home))
    mail_log = str((folder / "mail.log").resolve())
    settings = {"TRACKER_WEB": read_seed(folder)["url"] + "/", "MAIL_DEBUG": mail_log}
    if any(config[name] != value for name, value in settings.items()):
        for name, value in settings.items():
            config[name] = value
        config.save()


def open_accounts(folder: Path, persons: Path) -> None:
    """Create the users that the persons file names, and set the names and passwords that differ.

    The seed file gets the same passwords.
    """
    members = msgspec.json.decode(persons.read_bytes(), type=list[Member])
    seed = read_seed(folder)
    seed["users"] |= {member.id: member.password for member in members}
    write_private(folder / "seed.json", json.dumps(seed, indent=1).encode())
    db = roundup.instance.open(str(folder / "tracker")).open("admin")
    try:
        db.tx_Source = "cli"
        existing = {db.user.get(user, "username"): user for user in db.user.list()}
        for member in members:
            about = {"realname": member.name, "address": member.email}
            user = existing.get(member.id)
            if user is None:
                secret = password.Password(member.password, config=db.config)
                db.user.create(username=member.id, roles="User", password=secret, **about)
            elif db.user.get(user, "password") != member.password:
                secret = password.Password(member.password, config=db.config)
                db.user.set(user, password=secret, **about)
        db.commit()
    finally:
        db.close()


def _build(home: Path) -> None:
    templates = AdminTool().listTemplates()
    settings = {
        "tracker_name": "Acme help desk",
        "tracker_web": "http://127.0.0.1/desk/",
        "tracker_email": "desk@example.test",
        "admin_email": "admin@example.test",
        # Every API call verifies its password, and the default rounds take 0.2 s each time.
        "password_pbkdf2_default_rounds": "10000",
        "new_web_user_roles": "",
        "mail_domain": "example.test",
        "mail_host": "127.0.0.1",
        "mail_debug": str(home / "mail.log"),  # mail goes to a file and is never sent
        "rdbms_backend": "sqlite",
        "web_enable_xmlrpc": "no",
        "web_login_attempts_min": "30",
    }
    roundup.init.install(str(home), templates["classic"]["path"], settings=settings)
    schema = home / "schema.py"
    head, marker, _ = schema.read_text().partition(_ANONYMOUS)
    if not marker:
        raise RuntimeError("the classic template has changed: no section on anonymous users")
    # Anonymous visitors may only see the log-in page.
    schema.write_text(head + "\ndb.security.addPermissionToRole('Anonymous', 'Web Access')\n" + _SCHEMA)
    (home / "detectors" / "credit.py").write_text(_DETECTOR)
    page = home / "html" / "issue.item.html"
    head, row, tail = page.read_text().partition("<tr>\n" + _FORM_ROW)
    if not row:
        raise RuntimeError("the classic template has changed: no row of the issue form to add credits before")
    page.write_text(head + _form_rows() + row + tail)


def _form_rows() -> str:
    cells = [
        f' <th>{name.replace("_", " ").capitalize()}</th>\n <td tal:content="structure context/{name}/field"></td>\n'
        for name in CREDIT_FIELDS
    ]
    return "".join("<tr>\n" + "".join(cells[at : at + 2]) + "</tr>\n" for at in range(0, len(cells), 2))


def _fill(home: Path, seed: dict[str, Any], today: date | None) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        instance = roundup.instance.open(str(home))
        instance.init(password.Password(seed["users"]["admin"], config=instance.config), tx_Source="cli")
    db = instance.open("admin")
    try:
        db.tx_Source = "cli"
        for order, name in enumerate(CREDIT_STATUSES, start=20):
            db.status.create(name=name, order=order)
        for name, roles in ROLES.items():
            db.user.create(
                username=name,
                realname=name.capitalize(),
                password=password.Password(seed["users"][name], config=db.config),
                address=f"{name}@example.test",
                roles=roles,
            )
        if today is not None:
            _backlog(db, today)
        db.commit()
    finally:
        db.close()


def _backlog(db: Any, today: date) -> None:
    outage = today - timedelta(days=3)
    tickets: list[dict[str, str]] = [
        {"title": "How do I add a second workspace?", "status": "chatting", "priority": "wish"},
        {"title": "Export button does nothing on Fridays", "status": "in-progress", "priority": "bug"},
        {
            "title": f"API unavailable for 47 minutes on {outage.isoformat()}",
            "status": "resolved",
            "priority": "urgent",
            "case_kind": "incident",
            "incident_ref": f"INC-{outage:%Y%m%d}",
            "incident_on": outage.isoformat(),
        },
    ]
    for ticket in tickets:
        ticket["status"] = db.status.lookup(ticket["status"])
        ticket["priority"] = db.priority.lookup(ticket["priority"])
        db.issue.create(**ticket)
