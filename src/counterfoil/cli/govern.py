"""Commands on a governance folder, without a server: check, prove, list controls, format, evaluate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from counterfoil.cli.client import require_folder
from counterfoil.cli.failure import CommandFailed
from counterfoil.cli.input_file import read_input
from counterfoil.cli.output import (
    Format,
    FormatOption,
    complain,
    say,
    write_findings,
    write_json,
    write_table,
)
from counterfoil.core.finding import errors, refusal
from counterfoil.core.plural import counted
from counterfoil.core.wire import WireRefused, read_json

Folder = Annotated[Path, typer.Argument(help="The governance folder.")]


def check(
    dir: Folder = Path("."),
    environment: Annotated[
        str,
        typer.Option(
            help="Check this environment only; default: every environment.", envvar="COUNTERFOIL_ENVIRONMENT"
        ),
    ] = "",
    faults: Annotated[
        int,
        typer.Option(
            min=0, max=3, help="Prove the workflows under up to this number of faults, in a few seconds."
        ),
    ] = 1,
    no_prove: Annotated[bool, typer.Option("--no-prove", help="Skip the proof of workflows.")] = False,
    format: FormatOption = Format.TEXT,
) -> None:
    """Check a governance folder.

    The check covers every environment, region and legal entity. Exit code 1: there is an error.
    """
    from counterfoil.change.connector_checks import ConnectorChecks
    from counterfoil.model import read
    from counterfoil.model.lint import lint_documents
    from counterfoil.prove import proven

    require_folder(dir)
    model, findings = read(dir, environment=environment or None, also=ConnectorChecks(dir))
    reported = {(f.file, f.line) for f in findings}
    findings += (f for f in lint_documents(model.documents) if (f.file, f.line) not in reported)
    if not no_prove and not errors(findings):
        findings += proven(model, faults)
    findings = sorted(set(findings))
    wrong = errors(findings)
    if format is Format.JSON:
        write_findings(findings)
    else:
        for f in findings:
            say(f.report())
        count = len(model.documents)
        warnings = counted(len(findings) - len(wrong), "warning")
        say(f"{counted(count, 'document')}, {counted(len(wrong), 'error')}, {warnings}")
    if wrong:
        raise typer.Exit(1)


def prove(
    workflow: Annotated[str, typer.Argument(help="The workflow's name.")],
    dir: Folder = Path("."),
    faults: Annotated[int, typer.Option(min=0, max=5, help="Maximum number of faults in one history.")] = 2,
    states: Annotated[int, typer.Option(min=1, help="Stop after this number of states.")] = 200_000,
    format: FormatOption = Format.TEXT,
) -> None:
    """Prove a workflow under faults.

    The proof explores every interleaving. Exit code 1: an invariant breaks, or not all states were covered.
    """
    from counterfoil.model import read
    from counterfoil.prove import ProofLimits
    from counterfoil.prove import prove as proof_of

    require_folder(dir)
    model, findings = read(dir)
    if workflow not in model.workflows:
        names = ", ".join(sorted(model.workflows)) or "none"
        order = (
            f" The folder comes second: counterfoil prove WORKFLOW {workflow}."
            if Path(workflow).is_dir()
            else ""
        )
        raise CommandFailed(f"There is no workflow {workflow} in {dir}; available: {names}.{order}")
    if errors(findings):
        raise CommandFailed(refusal(dir, findings))
    proof = proof_of(model, workflow, faults, ProofLimits(states))
    if format is Format.JSON:
        write_json(proof.data())
    else:
        for broken in proof.broken:
            say(broken.text() + "\n")
        for _, message in proof.dead:
            say(f"dead: {message}")
        by = ", ".join(f"{n} with {counted(used, 'fault')}" for used, n in enumerate(proof.states))
        rate = proof.covered / max(proof.seconds, 0.001)
        of = f" in Runs of {' and '.join(proof.entities)}" if len(proof.entities) > 1 else ""
        say(
            f"{workflow}: {counted(proof.covered, 'state')} covered ({by}) from {counted(proof.beginnings, 'beginning')}{of},"
            f" {counted(proof.moves, 'move')}, {proof.seconds:.1f} s, {rate:.0f} states/s"
        )
        if not proof.complete:
            say("Not all states were covered, so nothing is proven. Raise the limit with --states.")
        elif proof.holds:
            say(f"Every invariant holds under up to {counted(faults, 'fault')}.")
    if proof.broken or not proof.complete:
        raise typer.Exit(1)


def controls(dir: Folder = Path("."), format: FormatOption = Format.TEXT) -> None:
    """List controls and their enforcement.

    Documents that no control covers are listed too. Exit code 1: a control is not enforced, or a document is not covered.
    """
    from counterfoil.model import kinds, read
    from counterfoil.model.checks.controls import enforcements, uncontrolled

    require_folder(dir)
    model, _ = read(dir, checks=False)
    by_control = enforcements(model)
    without = uncontrolled(model)
    rows: list[dict[str, Any]] = [
        {
            "name": control.name, "owners": model.owners_of(control), "risk": control.risk,
            "assertion": control.assertion, "frequency": control.frequency,
            "enforced": bool(by_control[name]) and not any(rule.fault for rule in by_control[name]),
            "enforced_by": [
                {"kind": rule.kind, "name": rule.name, "step": rule.step, "fault": rule.fault}
                for rule in by_control[name]
            ],
            "evidence": {"of": control.evidence.of, "where": control.evidence.where},
        }
        for name, control in sorted(model.of_kind(kinds.Control).items())
    ]  # fmt: skip
    if format is Format.JSON:
        uncovered = [{"kind": item.kind, "name": item.name, "why": item.why} for item in without]
        write_json({"controls": rows, "without": uncovered})
    else:
        write_table(
            ["CONTROL", "OWNER", "RISK", "ENFORCED BY", "EVIDENCE"],
            (
                [
                    row["name"],
                    ", ".join(row["owners"]),
                    row["risk"],
                    "; ".join(_enforcement_text(rule) for rule in row["enforced_by"]) or "nothing",
                    f"{row['frequency']}: {row['evidence']['of']} where {row['evidence']['where']}",
                ]
                for row in rows
            ),
            "No control.",
        )
        for item in without:
            say(f"without a control: the {item.kind} {item.name}, which {item.why}")
    if without or not all(row["enforced"] for row in rows):
        raise typer.Exit(1)


def _enforcement_text(rule: dict[str, str]) -> str:
    step = f"/{rule['step']}" if rule["step"] else ""
    fault = f" ({rule['fault']})" if rule["fault"] else ""
    return f"{rule['kind']} {rule['name']}{step}{fault}"


def fmt(
    dir: Folder = Path("."),
    look: Annotated[
        bool, typer.Option("--check", help="Change no file; exit code 1 if a file would change.")
    ] = False,
    format: FormatOption = Format.TEXT,
) -> None:
    """Format governance files."""
    from counterfoil.model.format import format_text

    files = [dir] if dir.is_file() else sorted(p for p in dir.rglob("*") if p.suffix in (".yaml", ".yml"))
    if not files:
        raise CommandFailed(f"{dir} contains no YAML file.")
    changed = []
    for path in files:
        try:
            before = path.read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            complain(f"{path}: skipped, it cannot be read: {why}")
            continue
        after = format_text(before)
        if after != before:
            changed.append(str(path))
            if not look:
                path.write_bytes(after.encode("utf-8"))
    if format is Format.JSON:
        write_json(changed)
    else:
        for name in changed:
            say(f"{'would change' if look else 'changed'} {name}")
        say(f"{counted(len(files), 'file')}, {len(changed)} {'to change' if look else 'changed'}")
    if look and changed:
        raise typer.Exit(1)


def schema(
    out: Annotated[Path, typer.Option(help="The folder; created if absent. Existing schemas are replaced.")],
    format: FormatOption = Format.TEXT,
) -> None:
    """Write the JSON Schemas of the kinds, for editors.

    One file for each kind, and one for a document of any kind.
    """
    from counterfoil.model.editor import schema_files

    files = {out / name: text for name, text in schema_files().items()}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandFailed(f"{out} cannot be written: {error}") from error
    if format is Format.JSON:
        write_json([str(path) for path in files])
        return
    for path in files:
        say(str(path))


def explain(
    expr: Annotated[str, typer.Argument(help="An expression, with or without the leading `=`.")],
    sample: Annotated[
        Path | None,
        typer.Option(help="A JSON file with the values of the names."),
    ] = None,
    format: FormatOption = Format.TEXT,
) -> None:
    """Evaluate an expression on a sample.

    The output lists what the expression reads. Exit code 1: it has no value.
    """
    from counterfoil.model.explain import explain as explained

    bindings: Any = None
    if sample is not None:
        content = read_input(sample)
        try:
            bindings = read_json(content)
        except WireRefused as error:
            raise CommandFailed(f"{sample}: {error.in_file(content)}") from error
        if not isinstance(bindings, dict):
            raise CommandFailed(f"{sample}: a sample must be a JSON object of names and values.")
    result = explained(expr, bindings)
    if format is Format.JSON:
        write_json(
            {
                "text": result.text, "type": result.type, "value": _plain(result.value), "problem": result.problem,
                "reads": {path: _plain(value) for path, value in result.reads.items()},
                "sample_name": result.sample_name,
                "lookups": list(result.lookups), "findings": [str(f) for f in result.findings],
            }
        )  # fmt: skip
    else:
        if result.sample_name:
            say(f"  {sample} is taken as {result.sample_name}")
        for path, value in result.reads.items():
            say(f"  {path} = {_value_text(value)}" if sample is not None else f"  reads {path}")
        for lookup in result.lookups:
            say(f"  looks up {lookup}")
        if result.problem:
            say(result.problem)
        elif sample is None and result.reads:
            say(f"a value of type {result.type}; give what it reads with --sample FILE")
        else:
            say(f"{_value_text(result.value)}  ({result.type})")
    if result.problem:
        raise typer.Exit(1)


def _plain(value: Any) -> Any:
    import msgspec

    from counterfoil.web.api.shapes import plain

    return msgspec.to_builtins(plain(value))


def _value_text(value: Any) -> str:
    if isinstance(value, str):
        return repr(value)
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


COMMANDS: list[Callable[..., None]] = [check, prove, controls, fmt, schema, explain]
