"""ERP of the demonstration: it is prepared once and then unchanged, and its users have the intended permissions."""

from __future__ import annotations

import secrets
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import httpx2
import msgspec
import pytest

from counterfoil.demo.erp.client import ErpError
from counterfoil.demo.erp.prepare import CONFIG, prepare
from counterfoil.demo.people import Member
from tests.erp_system import CACHE, Erp, running
from tests.patience import PATIENCE_SECONDS


@pytest.fixture(scope="module")
def erp() -> Iterator[Erp]:
    with running() as system:
        yield system


async def test_books_cover_the_years_around_today_by_months(erp: Erp) -> None:
    async with erp.client("reader") as reader:
        periods = await reader.periods()
    years = (erp.today.year - 1, erp.today.year, erp.today.year + 1)
    assert [period["name"] for period in periods] == [f"{y}-{m:02d}" for y in years for m in range(1, 13)]
    assert {period["state"] for period in periods} == {"open"}


async def test_only_the_controller_closes_periods(erp: Erp) -> None:
    name = f"{erp.today.year + 1}-12"
    for person in ("reader", "orchestrator"):
        async with erp.client(person) as client:
            with pytest.raises(ErpError) as caught:
                await client.close_period(name)
        assert caught.value.status == 403
    async with erp.client("controller") as controller:
        assert (await controller.close_period(name))["state"] == "closed"
        assert (await controller.reopen_period(name))["state"] == "open"
        with pytest.raises(ErpError, match="no period 1999-01"):
            await controller.close_period("1999-01")


async def test_reader_changes_nothing(erp: Erp) -> None:
    async with erp.client("reader") as reader:
        with pytest.raises(ErpError, match="not allowed"):
            await reader.create("party.party", {"name": "Refused"})
        assert await reader.invoices("nothing") == []
        assert await reader.trial_balance(erp.today) == {}


async def test_books_of_the_second_company_have_their_own_periods_accounts_and_users(erp: Erp) -> None:
    async with erp.client("reader", "acme-de") as reader:
        periods = await reader.periods()
        accounts = await reader.search("account.account", [], ["code", "company"])
    company = erp.seed["companies"]["acme-de"]["company"]
    assert len(periods) == 36
    assert {account["company"] for account in accounts} == {company}
    assert {"1400", "1771", "1776", "8300", "8400"} <= {account["code"] for account in accounts}
    name = f"{erp.today.year + 1}-11"
    async with erp.client("controller", "acme-de") as german, erp.client() as american:
        assert (await german.close_period(name))["state"] == "closed"
        states = {each["name"]: each["state"] for each in await american.periods()}
        assert (await german.reopen_period(name))["state"] == "open"
    assert states[name] == "open"


@pytest.mark.parametrize(
    ("company", "receivable", "loss", "gain"),
    [("acme-us", "1200", "7900", "7900"), ("acme-de", "1400", "2150", "2660")],
)
async def test_each_company_books_exchange_differences_on_its_own_accounts(
    erp: Erp, company: str, receivable: str, loss: str, gain: str
) -> None:
    accounts = {
        "default_account_receivable": receivable,
        "currency_exchange_debit_account": loss,
        "currency_exchange_credit_account": gain,
    }
    journal = "currency_exchange_journal"
    async with erp.client("reader", company) as reader:
        fields = [f"{name}.code" for name in (*accounts, journal)]
        (configuration,) = await reader.search("account.configuration", [], fields)
    of_company = erp.seed["companies"][company]["accounts"]
    assert {name: configuration[name]["id"] for name in accounts} == {
        name: of_company[code] for name, code in accounts.items()
    }
    assert configuration[journal]["code"] == "EXC"


def test_a_person_may_work_for_both_companies(tmp_path: Path) -> None:
    members = [
        Member(id, id.title(), f"{id}@acme.example", role, secrets.token_urlsafe(9), "")
        for id, role in (("fiona", "finance-operations"), ("admin", "administrator"))
    ]
    persons = tmp_path / "persons.json"
    persons.write_bytes(msgspec.json.encode(members))
    with running(persons) as system:
        call = {"id": 1, "method": "model.res.user.get_preferences", "params": [False, {}]}
        signed_in = httpx2.BasicAuth("fiona", members[0].password)
        with httpx2.Client(trust_env=False, timeout=PATIENCE_SECONDS, auth=signed_in) as http:
            preferences = http.post(f"{system.url}/erp/rpc/", json=call).json()["result"]
    companies = {key: books["company"] for key, books in system.seed["companies"].items()}
    assert preferences["company"] == companies["acme-us"]
    assert set(preferences["companies"]) == set(companies.values())


def test_a_prepared_folder_stays_unchanged(erp: Erp, tmp_path: Path) -> None:
    folder = tmp_path / "erp"
    seed = prepare(folder, erp.today, port=18069, cache=CACHE)
    assert stat.S_IMODE(seed.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert '"port": 18069' in seed.read_text(encoding="utf-8")
    (folder / CONFIG).write_text("mine", encoding="utf-8")
    before = seed.read_bytes()
    assert prepare(folder, date(erp.today.year + 5, 1, 1), port=1) == seed
    assert seed.read_bytes() == before
    assert (folder / CONFIG).read_text(encoding="utf-8") == "mine"


def test_a_folder_with_other_files_stays_unchanged(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear all", encoding="utf-8")
    with pytest.raises(SystemExit, match="is not empty"):
        prepare(tmp_path, date(2026, 1, 1))
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_an_unprepared_folder_is_not_served(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "counterfoil.demo.erp", "serve", "--dir", str(tmp_path), "--port", "1"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert ended.returncode == 1
    assert "contains no prepared ERP" in ended.stderr


def test_a_failed_build_leaves_no_prepared_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed build has the same effect as no build."""
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(SystemExit, match="could not be prepared"):
        prepare(tmp_path / "erp", date(2026, 1, 1))
    assert not (tmp_path / "erp").exists()
