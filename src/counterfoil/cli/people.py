"""Commands on the people file: list persons, add one, change a password, end an account. They need no server."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from counterfoil.cli.client import Server
from counterfoil.cli.failure import CommandFailed
from counterfoil.cli.output import Format, FormatOption, say, write_json, write_rows
from counterfoil.cli.processes import HOME
from counterfoil.core.errors import CounterfoilError
from counterfoil.core.finding import did_you_mean
from counterfoil.people_file import PeopleFileEntry, edited, people_path, read_people, zone_fault

people = typer.Typer(help="Persons who may sign in.", no_args_is_help=True)
MIN_PASSWORD_LENGTH = 8
Folder = Annotated[
    Path,
    typer.Option("--dir", exists=True, file_okay=False, help="The governance folder, which has the roles."),
]
Id = Annotated[str, typer.Argument(help="The person's id.")]
Stdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input, not from a prompt.")
]


@people.command("list")
def list_people(dir: Folder = Path("."), format: FormatOption = Format.TEXT) -> None:
    """List the persons of the people file."""
    rows = [_row(entry) for entry in _read(people_path(dir, HOME))]
    write_rows(
        rows,
        format,
        ["ID", "NAME", "E-MAIL", "ROLES", "ENTITIES", "TIME ZONE", "SIGNS IN", "TOKEN", "ACTIVE"],
        lambda r: [
            r["id"], r["name"], r["email"], ", ".join(r["roles"]), ", ".join(r["entities"]) or "all", r["zone"],
            *("yes" if r[field] else "no" for field in ("password", "token", "active")),
        ],
        "No person. `counterfoil people add` adds one.",
    )  # fmt: skip


@people.command()
def add(
    id: Id,
    email: Annotated[str, typer.Option(help="The address for signing in.")],
    role: Annotated[list[str], typer.Option(help="A role of the governance folder (repeatable).")],
    name: Annotated[str, typer.Option(help="The name that pages show; default: the id.")] = "",
    entity: Annotated[
        list[str] | None,
        typer.Option(help="A legal entity that the person acts for (repeatable); default: all."),
    ] = None,
    zone: Annotated[
        str, typer.Option(help="The time zone of the person's pages, such as Europe/Berlin.")
    ] = "",
    password_stdin: Stdin = False,
    dir: Folder = Path("."),
    format: FormatOption = Format.TEXT,
) -> None:
    """Add a person. The password comes from a prompt or from standard input, never from an argument."""
    if not id or id != "".join(id.split()):
        raise CommandFailed("an id is a word without spaces.")
    if "@" not in email or email != "".join(email.split()):
        raise CommandFailed(f"{email} is not an e-mail address.")
    if zone and (fault := zone_fault(zone)):
        raise CommandFailed(fault)
    _require_names(dir, "role", role)
    _require_names(dir, "legal_entity", entity or [])
    path = people_path(dir, HOME)
    _require_absent(path, id)
    secret = _hash(_new_password(id, password_stdin))
    roles = list(dict.fromkeys(role))
    entry = {"id": id, "name": name or id, "email": email, "roles": roles, "secret": secret}
    entry |= {"entities": list(dict.fromkeys(entity))} if entity else {}
    entry |= {"zone": zone} if zone else {}
    try:
        with edited(path) as rows:
            _require_absent(path, id)  # another command may have added the person during the prompt
            rows.append(entry)
    except CounterfoilError as error:
        raise CommandFailed(str(error)) from error
    _report(path, id, "added", format)


@people.command()
def password(
    id: Id, password_stdin: Stdin = False, dir: Folder = Path("."), format: FormatOption = Format.TEXT
) -> None:
    """Change a person's password. Sessions that are open stay open."""
    path = people_path(dir, HOME)
    _require_person(path, id)
    _change(path, id, {"secret": _hash(_new_password(id, password_stdin))})
    _report(path, id, "has a new password", format)


@people.command()
def end(id: Id, dir: Folder = Path("."), format: FormatOption = Format.TEXT) -> None:
    """End a person's account: all access ends, and past decisions stay."""
    path = people_path(dir, HOME)
    _require_person(path, id)
    _change(path, id, {"active": False})
    _report(path, id, "ended", format)


def _row(entry: PeopleFileEntry) -> dict[str, Any]:
    return {
        "id": entry.id, "name": entry.name, "email": entry.email, "roles": entry.roles,
        "entities": entry.entities, "aliases": entry.aliases,
        "password": bool(entry.secret), "token": bool(entry.token_sha256), "active": entry.active,
        "zone": entry.zone,
    }  # fmt: skip


def _read(path: Path) -> list[PeopleFileEntry]:
    try:
        return read_people(path)
    except CounterfoilError as error:
        raise CommandFailed(str(error)) from error


def _require_names(dir: Path, kind: str, values: list[str]) -> None:
    """Raise CommandFailed for a role or a legal entity that the folder does not have."""
    from counterfoil.model import kinds, read

    if not values:
        return
    what = kind.replace("_", " ")
    names = sorted(read(dir, checks=False)[0].of_kind(kinds.KINDS[kind]))
    if not names:
        raise CommandFailed(f"{dir} has no {what}; name the governance folder with --dir.")
    for name in values:
        if name not in names:
            available = f"there are: {', '.join(names)}"
            raise CommandFailed(f"there is no {what} {name} in {dir}; {did_you_mean(name, names, available)}")


def _require_absent(path: Path, id: str) -> None:
    if any(entry.id == id for entry in _read(path)):
        raise CommandFailed(
            f"{path} has the person {id} already; `counterfoil people password` changes the password."
        )


def _require_person(path: Path, id: str) -> None:
    names = [entry.id for entry in _read(path)]
    if id not in names:
        fix = did_you_mean(id, names, "`counterfoil people list` lists all persons")
        raise CommandFailed(f"{path} has no person {id}; {fix}")


def _change(path: Path, id: str, fields: dict[str, Any]) -> None:
    try:
        with edited(path) as rows:
            next(row for row in rows if row["id"] == id).update(fields)
    except StopIteration:
        raise CommandFailed(f"{path} has no person {id} any more.") from None
    except CounterfoilError as error:
        raise CommandFailed(str(error)) from error


def _new_password(id: str, from_stdin: bool) -> str:
    """Return a new password. Raises CommandFailed if there is none, or if it is too short."""
    if from_stdin:
        text = sys.stdin.readline().rstrip("\r\n")
    elif not sys.stdin.isatty():
        raise CommandFailed("there is no terminal to ask for a password; use --password-stdin.")
    else:
        text = getpass.getpass(f"New password of {id}: ")
        if getpass.getpass("The same again: ") != text:
            raise CommandFailed("the two passwords differ.")
    if len(text) < MIN_PASSWORD_LENGTH:
        raise CommandFailed(f"a password has at least {MIN_PASSWORD_LENGTH} characters.")
    return text


def _hash(text: str) -> str:
    from counterfoil.web.http.identity import Passwords

    return Passwords().hash(text)


def _report(path: Path, id: str, what: str, format: Format) -> None:
    """Print the change, and how a server learns it."""
    effect = "It applies when `counterfoil up` starts."
    try:
        with Server(timeout=2) as server:
            if server.request("GET", "/healthz").status_code == 200:
                effect = (
                    f"A server runs on {server.url}: it takes over the file of its folder within seconds."
                )
    except CommandFailed:
        pass
    if format is Format.JSON:
        write_json({"id": id, "change": what, "file": os.fspath(path), "takes_effect": effect})
    else:
        say(f"{id} {what} in {path}. {effect}")
