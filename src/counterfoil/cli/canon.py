"""Commands on the canonical library, without a server and without a folder: list it, show one document."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from counterfoil.cli.failure import CommandFailed
from counterfoil.cli.output import Format, FormatOption, say, write_json, write_rows

canon = typer.Typer(help="The canonical library of order-to-cash.", no_args_is_help=True)


class CanonFormat(StrEnum):
    YAML = "yaml"
    JSON_SCHEMA = "json-schema"


@canon.command("list")
def list_(format: FormatOption = Format.TEXT) -> None:
    """List canonical objects, events and operations with their versions, and the workflows that use them."""
    from counterfoil.canon.library import library

    rows = [
        {
            "kind": document.kind,
            "name": document.name,
            "version": document.version,
            "doc": document.doc,
            "workflows": list(document.workflows),
        }
        for document in library().documents
    ]
    write_rows(
        rows,
        format,
        ["KIND", "NAME", "VERSION>", "WORKFLOWS", "MEANING"],
        lambda row: [
            row["kind"],
            row["name"],
            row["version"],
            ", ".join(row["workflows"]) or "not used by a workflow yet",
            row["doc"],
        ],
        "The library is empty.",
    )


@canon.command("show")
def show(
    name: Annotated[str, typer.Argument(help="A name, or NAME@VERSION; default: the newest version.")],
    format: Annotated[
        CanonFormat, typer.Option("--format", help="yaml: the form of governance files; json-schema.")
    ] = CanonFormat.YAML,
) -> None:
    """Show a canonical object, event or operation with all its fields."""
    from counterfoil.canon.library import library
    from counterfoil.core.finding import did_you_mean
    from counterfoil.model.canonical import canonical_schema, canonical_text

    plain_name = name.partition("@")[0]
    versions = library().named(plain_name)
    chosen = [document for document in versions if name in (document.name, document.reference)]
    if not chosen:
        names = [document.name for document in library().documents]
        listed = ", ".join(document.reference for document in versions)
        fix = f"use {listed}" if versions else did_you_mean(plain_name, names, "run `counterfoil canon list`")
        raise CommandFailed(f"The canonical library has no {name}: {fix}")
    if format is CanonFormat.JSON_SCHEMA:
        write_json(canonical_schema(chosen[-1]))
    else:
        say(canonical_text(chosen[-1]).rstrip("\n"))
