"""The drafted folder runs: its systems read the exports, and its foils say what the comparison said."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from counterfoil import reconcile
from counterfoil.bootstrap import application
from counterfoil.change.connector_checks import ConnectorChecks
from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.sweep import SweepState
from counterfoil.model import read
from counterfoil.reconcile.observe import observe
from counterfoil.reconcile.reports.draft import write_draft
from tests.served import until

SAMPLES = Path(reconcile.__file__).parent / "samples"


async def played(folder: Path, store: Path) -> tuple[Counter[str], list[str]]:
    """Return the number of foils by state after a sweep of both books, and the keys of items that nothing asserts."""
    model, findings = read(folder, also=ConnectorChecks(folder))
    assert [str(finding) for finding in findings] == []
    (name,) = model.reconciliations
    async with application(folder, f"sqlite:{store / 'store.db'}", store) as app:
        rule, scope = app.model.reconciliations[name], EntityScope()
        ids = {one.id for one in await app.sweeps.request(app.model, rule, scope, "ann")}

        async def ended() -> bool:
            sweeps = [one for one in await app.sweeps.latest(app.model, rule, scope) if one.id in ids]
            assert {one.error for one in sweeps} == {""}
            return all(one.state is SweepState.DONE for one in sweeps)

        await until("the ends of the sweeps", ended)
        dump = await app.store.dump()  # type: ignore[attr-defined]
        assert {case.reason for case in dump.cases} <= {"foil_over", "foil_broken", "unmatched"}
        return Counter(str(f.state) for f in dump.foils), [
            o.key for o in dump.observations if o.state == "unmatched"
        ]


def home_of(folder: Path) -> Path:
    folder.mkdir()
    return folder


async def test_the_draft_of_the_samples_finds_their_differences(tmp_path: Path) -> None:
    left, right = (str(shutil.copy(SAMPLES / f"{name}-june.csv", tmp_path)) for name in ("billing", "ledger"))
    (note,) = write_draft(observe(left, right), (left, right), tmp_path / "draft")
    assert "exports" in note
    states, items = await played(tmp_path / "draft", home_of(tmp_path / "home"))
    # 34 matches less the one that stands twice; a difference of rounding is within the tolerance, and no rule speaks of months.
    assert states == {"matched": 35, "open": 2, "partly": 1, "over": 2}
    assert items == ["rent-office"]


async def test_debit_and_credit_and_the_other_sign(tmp_path: Path) -> None:
    left, right = tmp_path / "billing.csv", tmp_path / "ledger books.csv"
    numbers = range(1, 9)
    left.write_text("Invoice No,Amount\n" + "".join(f"INV-{n},{n * 10}.50\n" for n in numbers), "utf-8")
    right.write_text(
        "Beleg Nr;Soll;Haben\n" + "".join(f"inv-{n};;{n * 10},50\n" for n in numbers if n != 3), "cp1252"
    )
    places = str(left), str(right)
    write_draft(observe(*places), places, tmp_path / "draft")
    states, items = await played(tmp_path / "draft", home_of(tmp_path / "home"))
    assert (states, items) == ({"matched": 7, "open": 1}, [])


@pytest.mark.parametrize(
    ("currency", "ours", "theirs"),
    [("EUR", "1000.00", "1000.01"), ("JPY", "1000", "1001"), ("KWD", "1000.000", "1000.001")],
)
def test_the_tolerance_is_in_minor_units_of_the_currency(
    tmp_path: Path, currency: str, ours: str, theirs: str
) -> None:
    places = []
    for name, amount in (("billing", ours), ("ledger", theirs)):
        rows = [f"INV-{n},{n}{ours[1:]},{currency}\n" for n in range(2, 30)]
        text = "".join(["invoice,amount,currency\n", f"INV-1,{amount},{currency}\n", *rows])
        (tmp_path / f"{name}.csv").write_text(text, "utf-8")
        places.append(str(tmp_path / f"{name}.csv"))
    write_draft(observe(*places), (places[0], places[1]), tmp_path / "draft")
    assert "tolerance: 1}" in (tmp_path / "draft" / "reconciliation.yaml").read_text("utf-8")
