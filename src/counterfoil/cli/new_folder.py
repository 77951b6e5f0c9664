"""`init`: a governance folder that starts as it is, with secrets and persons of its own."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from counterfoil.cli.failure import CommandFailed
from counterfoil.cli.output import Format, FormatOption, complain, say, write_json
from counterfoil.cli.processes import HOME
from counterfoil.core.errors import Misconfigured
from counterfoil.core.private_file import write_private
from counterfoil.people_file import NAME

PERSONS = (
    ("sam", "Sam Support", ["support-agent"]),
    ("lena", "Lena Lead", ["support-lead", "finance"]),
)
"""Id, name and roles. The first requests credits, the second approves them and uses the command line."""


def init(
    dir: Annotated[Path, typer.Argument(help="The folder; created if absent.")],
    format: FormatOption = Format.TEXT,
) -> None:
    """Create a small governance folder.

    It starts as it is: its secrets and persons are made up, and their passwords are shown once.
    """
    from counterfoil.model import scaffold

    try:
        written = scaffold.init(dir)
    except Misconfigured as error:
        raise CommandFailed(str(error)) from error
    private, passwords = _write_home(dir / HOME)
    # The list of files is for programs; the passwords must be seen in either format.
    tell = say if format is Format.TEXT else complain
    if format is Format.JSON:
        write_json([str(path) for path in (*written, *private)])
    else:
        for path in (*written, *private):
            say(str(path))
    _tell_persons(dir, passwords, tell)
    _tell_next(dir, tell)


def _write_home(home: Path) -> tuple[list[Path], dict[str, str]]:
    """Write the secrets and persons that are missing. Return the new files, and the passwords by e-mail address."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    contents: dict[str, bytes] = {".gitignore": b"*\n"}
    hook_secret = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
    contents["helpdesk-secret"] = hook_secret.encode()
    contents["billing-token"] = secrets.token_urlsafe(32).encode()
    passwords: dict[str, str] = {}
    # A token alone would be no person's, and persons of this folder must not replace others.
    if not (home / NAME).exists() and not (home / "token").exists():
        token = "cft_" + secrets.token_urlsafe(32)
        contents["token"] = token.encode()
        contents[NAME], passwords = _persons(token)
    written = []
    for name, content in contents.items():
        if not (home / name).exists():
            write_private(home / name, content)
            written.append(home / name)
    return written, passwords


def _persons(token: str) -> tuple[bytes, dict[str, str]]:
    """Return a people file whose last person has the token, and the passwords by e-mail address."""
    from counterfoil.web.http.identity import Passwords

    hasher, entries, passwords = Passwords(), [], {}
    for id, name, roles in PERSONS:
        email, password = f"{id}@example.com", secrets.token_urlsafe(12)
        passwords[email] = password
        entries.append(
            {"id": id, "name": name, "email": email, "roles": roles, "secret": hasher.hash(password)}
        )
    entries[-1]["token_sha256"] = hashlib.sha256(token.encode()).hexdigest()
    return (json.dumps(entries, indent=2) + "\n").encode(), passwords


def _tell_persons(dir: Path, passwords: dict[str, str], tell: Callable[[str], None]) -> None:
    if not passwords:
        tell(
            f"\n{dir / HOME} has persons or a token already and keeps them. Add a person with `counterfoil people add`."
        )
        return
    tell("\nThese persons can sign in. Their passwords are shown only now:")
    for (_, _, roles), (email, password) in zip(PERSONS, passwords.items(), strict=True):
        tell(f"    {email:<18} {password}   {', '.join(roles)}")


def _tell_next(dir: Path, tell: Callable[[str], None]) -> None:
    if dir.resolve() != Path.cwd():
        tell(f"\nNext, in the new folder (cd {shlex.quote(str(dir))}):")
    else:
        tell("\nNext:")
    tell("    counterfoil check")
    tell("    counterfoil twin starter     # in a second terminal: the billing system and the ledger")
    tell("    counterfoil up               # in a third terminal")
    tell(f"\n{dir / 'README.md'} leads on from there to a matched counterfoil.")
