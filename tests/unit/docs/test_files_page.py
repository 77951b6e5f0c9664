"""The example on the page about files and queries: it passes check, and its sweeps find what the page says."""

from __future__ import annotations

import re
from pathlib import Path

from counterfoil.bootstrap import application
from counterfoil.change.connector_checks import ConnectorChecks
from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.sweep import Sweep, SweepState
from counterfoil.model import read
from tests.served import until
from tests.source import ROOT

PAGE = (ROOT / "docs/how-to/read-files-and-queries.md").read_text("utf-8")
RULE = "invoice-in-ledger"


def write_example(folder: Path) -> None:
    """Write the governance and the files of the first day."""
    governance, *_ = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    (folder / "books.yaml").write_text(governance.replace("every: 1m", "every: 1s"))
    for name in ("exports/billing/invoices-2026-03-01.csv", "exports/ledger/entries-2026-03-01.csv"):
        write_file(folder, name)


def write_file(folder: Path, name: str) -> None:
    (content,) = re.findall(rf"`{name}`[^`]*```csv\n(.*?)```", PAGE, re.S)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content)


async def test_the_sweeps_of_the_example_find_what_events_missed_in_both_directions(tmp_path: Path) -> None:
    folder, home = tmp_path / "governance", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    write_example(folder)
    assert read(folder, also=ConnectorChecks(folder))[1] == []
    async with application(folder, f"sqlite:{tmp_path / 'store.db'}", home) as app:

        async def sweep() -> dict[str, Sweep]:
            rule, scope = app.model.reconciliations[RULE], EntityScope()
            ids = {one.id for one in await app.sweeps.request(app.model, rule, scope, "ann")}

            async def ended() -> list[Sweep] | None:
                sweeps = [one for one in await app.sweeps.latest(app.model, rule, scope) if one.id in ids]
                return sweeps if all(one.state is not SweepState.READING for one in sweeps) else None

            sweeps = await until("the ends of the sweeps", ended)
            assert {(one.state, one.error) for one in sweeps} == {(SweepState.DONE, "")}
            return {one.system: one for one in sweeps}

        async def foils() -> dict[str, str]:
            dump = await app.store.dump()  # type: ignore[attr-defined]
            return {foil.document: str(foil.state) for foil in dump.foils}

        first = await sweep()
        assert (first["ledger"].listed, first["ledger"].missing) == (2, 0)
        assert await foils() == {"R-1": "matched", "R-2": "matched", "R-3": "open"}
        write_file(folder, "exports/ledger/entries-2026-03-02.csv")
        second = await sweep()
        assert (second["ledger"].listed, second["ledger"].fresh, second["ledger"].missing) == (2, 1, 1)
        assert (await foils())["R-3"] == "matched"
        dump = await app.store.dump()  # type: ignore[attr-defined]
        (case,) = [case for case in dump.cases if case.reason == "unlisted"]
        assert "does not list entry E-1" in case.message
