"""Statements in the form camt.053: each version, refusals with their place, chains of statements, and hostile XML."""

from __future__ import annotations

import logging
import tracemalloc
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from counterfoil.connectors.files import inspection
from counterfoil.connectors.files.reader import FileRefused, SourceRow
from counterfoil.connectors.files.readers import bounded_xml, camt
from counterfoil.connectors.files.readers.camt import VERSIONS, read_statements
from counterfoil.core.errors import Misconfigured
from tests.companies.bank_systems import arrivals, bank, lines, rows

IBAN = "DE02120300000000202051"
NEW = ("08", "10")
"""Versions with a code as status and a party in an element of its own."""


def party(version: str, role: str, name: str) -> str:
    inner = f"<Nm>{name}</Nm>"
    return f"<{role}>{f'<Pty>{inner}</Pty>' if version in NEW else inner}</{role}>"


def entry(version: str, amount: str, side: str, status: str = "BOOK", details: str = "", **more: str) -> str:
    code = f"<Cd>{status}</Cd>" if version in NEW else status
    reference = f"<AcctSvcrRef>{more['ref']}</AcctSvcrRef>" if "ref" in more else ""
    return (
        f'<Ntry><Amt Ccy="{more.get("currency", "EUR")}">{amount}</Amt><CdtDbtInd>{side}</CdtDbtInd>{more.get("before", "")}'
        f"<Sts>{code}</Sts><BookgDt><Dt>2026-03-02</Dt></BookgDt><ValDt><DtTm>2026-03-03T00:00:00+01:00</DtTm></ValDt>"
        f"{reference}<BkTxCd><Prtry><Cd>NTRF</Cd></Prtry></BkTxCd>{more.get('after', '')}"
        f"<NtryDtls>{details}</NtryDtls></Ntry>\n"
    )


def wire(version: str) -> str:
    return (
        "<TxDtls><Refs><EndToEndId>E2E-7</EndToEndId></Refs><RltdPties>"
        + party(version, "Dbtr", "Müller &amp; Söhne")
        + "<DbtrAcct><Id><IBAN>DE75512108001245126199</IBAN></Id></DbtrAcct></RltdPties>"
        "<RmtInf><Ustrd>INV-1 INV-2</Ustrd><Ustrd>less discount</Ustrd></RmtInf></TxDtls>"
    )


def batch(version: str, *amounts: str) -> str:
    def part(amount: str) -> str:
        if version == "02":
            return f'<AmtDtls><TxAmt><Amt Ccy="EUR">{amount}</Amt></TxAmt></AmtDtls>'
        return f'<Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>DBIT</CdtDbtInd>'

    return "".join(
        f"<TxDtls><Refs><EndToEndId>P-{n}</EndToEndId><TxId>T-{n}</TxId></Refs>{part(amount)}<RltdPties>"
        f"{party(version, 'Cdtr', f'Supplier {n}')}</RltdPties><RmtInf><Strd><CdtrRefInf><Ref>RF{n}</Ref></CdtrRefInf></Strd>"
        "</RmtInf></TxDtls>"
        for n, amount in enumerate(amounts, 1)
    )


def balance(code: str, amount: str, day: str = "2026-03-02") -> str:
    side = "DBIT" if amount.startswith("-") else "CRDT"
    return (
        f'<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">{amount.removeprefix("-")}</Amt>'
        f"<CdtDbtInd>{side}</CdtDbtInd><Dt><Dt>{day}</Dt></Dt></Bal>\n"
    )


def statement(
    body: str, opening: str, closing: str, name: str = "S-1", number: str = "", day: str = "2026-03-02"
) -> str:
    return (
        f"<Stmt><Id>{name}</Id>{number}<Acct><Id><IBAN>{IBAN}</IBAN></Id></Acct>\n"
        f"{balance('OPBD', opening, day)}{balance('CLBD', closing, day)}{balance('CLAV', '1.00', day)}{body}</Stmt>\n"
    )


def document(version: str, *statements: str, message: str = "M-1") -> str:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.{version}">'
        f"<BkToCstmrStmt><GrpHdr><MsgId>{message}</MsgId></GrpHdr>\n{''.join(statements)}</BkToCstmrStmt></Document>\n"
    )


def number(of: int, of_year: int | None = None) -> str:
    legal = "" if of_year is None else f"<LglSeqNb>{of_year}</LglSeqNb>"
    return f"<ElctrncSeqNb>{of}</ElctrncSeqNb>{legal}"


def write(folder: Path, text: str, name: str = "a.xml") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def full(version: str) -> str:
    summary = (
        "<TxsSummry><TtlNtries><NbOfNtries>5</NbOfNtries><Sum>1180.00</Sum></TtlNtries><TtlCdtNtries>"
        "<NbOfNtries>2</NbOfNtries><Sum>1005.00</Sum></TtlCdtNtries><TtlDbtNtries><Sum>175.00</Sum></TtlDbtNtries></TxsSummry>"
    )
    charges = '<Chrgs><Amt Ccy="EUR">10.00</Amt><CdtDbtInd>DBIT</CdtDbtInd></Chrgs>'
    entries = [
        entry(version, "990.00", "CRDT", ref="R-1", details=wire(version), after=charges),
        entry(version, "50.00", "DBIT", ref="R-2", details=batch(version, "30.00", "20.00")),
        entry(version, "15.00", "CRDT", before="<RvslInd>true</RvslInd>", ref="R-3"),
        entry(version, "25.00", "DBIT", status="PDNG"),
        entry(version, "62.50", "DBIT", after=""),
        entry(version, "62.50", "DBIT"),
    ]
    return document(version, statement(summary + "".join(entries), "-100.00", "730.00"))


@pytest.mark.parametrize("version", VERSIONS)
async def test_each_version_gives_the_same_rows(
    tmp_path: Path, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, full(version))
    caplog.set_level(logging.INFO, "counterfoil.files")
    deliveries = await lines(bank("bank-de", tmp_path))
    first, part, other_part, third, fee, other = [delivery.body for delivery in deliveries]
    assert first == {
        "statement": "S-1", "account": IBAN, "reference": "R-1", "amount": "990.00", "currency": "EUR",
        "booked_on": "2026-03-02", "value_on": "2026-03-03", "counterparty_name": "Müller & Söhne",
        "counterparty_iban": "DE75512108001245126199", "remittance": "INV-1 INV-2 less discount",
        "end_to_end_id": "E2E-7", "kind": "NTRF", "reversal": False, "charges": "-10.00", "details": [],
    }  # fmt: skip
    columns = (
        "reference",
        "amount",
        "end_to_end_id",
        "remittance",
        "counterparty_name",
        "charges",
        "details",
    )
    assert [[row[column] for column in columns] for row in (part, other_part)] == [
        ["R-2#1", "-30.00", "P-1", "RF1", "Supplier 1", None, []],
        ["R-2#2", "-20.00", "P-2", "RF2", "Supplier 2", None, []],
    ]
    assert (third["amount"], third["reversal"], fee["charges"]) == ("15.00", True, None)
    assert other["reference"] == f"{fee['reference']}/2"
    assert [delivery.ext_id for delivery in deliveries][:3] == [
        f"lines/{IBAN}/S-1/R-1",
        f"lines/{IBAN}/S-1/R-2#1",
        f"lines/{IBAN}/S-1/R-2#2",
    ]
    assert "1 entries are left out, because the bank has not booked them" in caplog.text


def test_the_parties_of_a_reversal_are_those_of_the_first_entry(tmp_path: Path) -> None:
    text = entry("08", "9.00", "DBIT", before="<RvslInd>true</RvslInd>", details=wire("08"))
    (row,) = rows("bank-de", write(tmp_path, document("08", statement(text, "10", "1"))))
    assert (row["amount"], row["counterparty_name"]) == ("-9.00", "Müller & Söhne")


def test_charges_explain_parts_that_are_more_than_the_entry(tmp_path: Path) -> None:
    parts = batch("02", "60.00", "41.00")
    charges = '<Chrgs><Amt Ccy="EUR">1.00</Amt><CdtDbtInd>DBIT</CdtDbtInd></Chrgs>'
    good = entry("02", "100.00", "CRDT", details=parts, after=charges)
    parts_of_entry = rows("bank-de", write(tmp_path, document("02", statement(good, "0", "100.00"))))
    assert [(row["amount"], row["charges"]) for row in parts_of_entry] == [
        ("60.00", None),
        ("40.00", "-1.00"),
    ]
    bad = document("02", statement(entry("02", "100.00", "CRDT", details=parts), "0", "100.00"))
    with pytest.raises(FileRefused, match="2 of its 2 parts have amounts in its currency, together 101"):
        rows("bank-de", write(tmp_path, bad))


@pytest.mark.parametrize("sum_", ["100.00", "98.00"])
def test_charges_of_a_part_are_those_of_its_row(tmp_path: Path, sum_: str) -> None:
    """The amounts of the parts are with or without their charges; the rows add up to the entry in both cases."""
    charges = '<Chrgs><Rcrd><Amt Ccy="EUR">2.00</Amt><CdtDbtInd>DBIT</CdtDbtInd></Rcrd></Chrgs></TxDtls>'
    parts = batch("02", "60.00", "40.00").replace("</TxDtls>", charges, 1)
    text = document("02", statement(entry("02", sum_, "CRDT", details=parts), "0", sum_))
    both = rows("bank-de", write(tmp_path, text))
    first = "60.00" if sum_ == "100.00" else "58.00"
    assert [(row["amount"], row["charges"]) for row in both] == [(first, "-2.00"), ("40.00", None)]


def test_an_entry_whose_parts_have_no_amounts_is_one_row(tmp_path: Path) -> None:
    parts = (
        batch("08", "30.00", "20.00")
        .replace('<Amt Ccy="EUR">30.00</Amt>', "")
        .replace('<Amt Ccy="EUR">20.00</Amt>', "")
    )
    (row,) = rows(
        "bank-de",
        write(tmp_path, document("08", statement(entry("08", "50", "DBIT", details=parts), "50", "0"))),
    )
    assert [(part["amount"], part["counterparty"]) for part in row["details"]] == [
        (None, "Supplier 1"),
        (None, "Supplier 2"),
    ]


ONE = entry("08", "5.00", "CRDT", ref="R-1")
FAULTS: Mapping[str, tuple[str, str]] = {
    "entry missing": (document("08", statement("", "0", "5.00")), "opens with 0 EUR, its entries are 0, and it closes with 5.00"),
    "counter": (document("08", statement("<TxsSummry><TtlNtries><NbOfNtries>2</NbOfNtries></TtlNtries></TxsSummry>" + ONE, "0", "5")),
                "line 7: the counter `TtlNtries/NbOfNtries` of the statement is 2, and its entries give 1"),
    "no opening": (document("08", statement(ONE, "0", "5")).replace("OPBD", "OPAV"), "has no opening balance `OPBD`"),
    "two openings": (document("08", statement(balance("OPBD", "0") + ONE, "0", "5")), "a second balance `OPBD`"),
    "status": (document("08", statement(entry("08", "5", "CRDT", "BOOKED"), "0", "5")), "line 7: the entry has the status `BOOKED`"),
    "no status": (document("08", statement(entry("08", "5", "CRDT", ""), "0", "5")), "line 7: the entry has the status ``"),
    "side": (document("08", statement(entry("08", "5", "C"), "0", "5")), "line 7: `Ntry` has `C` as its side"),
    "amount": (document("08", statement(entry("08", "-5", "DBIT"), "0", "5")), "line 7: `-5 EUR` is no amount"),
    "number": (document("08", statement(entry("08", "5e0", "CRDT"), "0", "5")), "line 7: `5e0 EUR` is no amount"),
    "currency": (document("08", statement(entry("08", "5", "CRDT", currency="USD"), "0", "5")),
                 "line 7: the entry is in USD, and the balance in EUR"),
    "date": (document("08", statement(ONE.replace("<BookgDt><Dt>2026-03-02", "<BookgDt><Dt>2026-02-30"), "0", "5")),
             "line 7: `2026-02-30` is no date"),
    "no date": (document("08", statement(ONE.replace("BookgDt", "BookDt"), "0", "5")), "line 7: the entry has no booking date"),
    "parts": (document("08", statement(entry("08", "5", "DBIT", details=batch("08", "3", "1")), "5", "0")), "together -4"),
    "same statement": (document("08", statement(ONE, "0", "5"), statement(ONE, "0", "5")), "stands in line 7 too; export the file again"),
    "no account": (document("08", statement(ONE, "0", "5")).replace("IBAN>", "BAN>"), "names no account"),
    "no id": (document("08", statement(ONE, "0", "5", name=" ")), "the statement has no `Id`"),
    "no statement": (document("08"), "a.xml has no statement"),
    "version": (document("12", statement(ONE, "0", "5")), "a.xml is camt.053.001.12; statements are read as camt.053.001"),
    "report": (document("08", statement(ONE, "0", "5")).replace("camt.053", "camt.052"), "a.xml is camt.052.001.08"),
    "other": ("<html></html>", "the file begins with `html`"),
    "cut": (document("08", statement(ONE, "0", "5"))[:-20], "this is no complete XML"),
    "empty": ("", "this is no complete XML (no element found)"),
    "text": ("Date,Amount\n1,2\n", "line 1: this is no complete XML"),
    "document type": ('<!DOCTYPE a [<!ENTITY b "c">]>\n' + document("08", statement(ONE, "0", "5")).partition("\n")[2],
                      "a document type and entities are not allowed"),
    "entity": (document("08", statement(ONE, "0", "5")).replace("R-1", "&ref;"), "this is no complete XML (undefined entity)"),
    "depth": (document("08", statement("<a>" * 50 + "</a>" * 50 + ONE, "0", "5")), "nested more than 40 deep"),
    "long text": (document("08", statement(ONE, "0", "5", name="x" * 70_000)), "a text is too long"),
    "long tag": (document("08", statement(f'<a b="{"x" * 3_000_000}"/>' + ONE, "0", "5")), "a tag or a comment is too long"),
    "encoding": (document("08").replace("UTF-8", "no-such"), "line 1: "),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_faulty_statement_is_refused_whole_with_its_place(tmp_path: Path, fault: str) -> None:
    text, expected = FAULTS[fault]
    write(tmp_path, text)
    connector = bank("bank-de", tmp_path)
    for call in (connector.list_book, connector.poll):
        with pytest.raises(Misconfigured) as raised:
            await call("lines", None, 10, 20)
        assert expected in str(raised.value)
    await connector.close()


def test_a_part_with_endless_elements_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_xml, "MAX_PART_ELEMENTS", 30)
    text = document("08", statement(entry("08", "5", "CRDT", details="<a/>" * 30), "0", "5"))
    with pytest.raises(FileRefused, match="one entry has more than 30 elements"):
        rows("bank-de", write(tmp_path, text))


# ------------------------------------------------------------------ chains and repeats


def day(n: int, of: str = "", amount: str = "1.00", name: str = "") -> str:
    """Statement of the n-th day, over one entry; the account opens with n - 1."""
    booked = entry("08", amount, "CRDT", ref=f"R-{n}")
    closing = str(n - 1 + Decimal(amount))
    return document(
        "08", statement(booked, str(n - 1), closing, name or f"S-{n}", of or number(n), f"2026-03-{n:02d}")
    )


@pytest.mark.parametrize(
    ("cache_rows", "passes"), [(2, ["1.xml", "2.xml"]), (1, ["1.xml", "2.xml", "2.xml"])]
)
async def test_a_new_statement_is_parsed_once_unless_it_is_larger_than_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_rows: int, passes: list[str]
) -> None:
    parsed: list[str] = []

    class CountedParts(bounded_xml.XmlParts):
        def __init__(self, path: Path, *elements: Any) -> None:
            parsed.append(path.name)
            super().__init__(path, *elements)

    monkeypatch.setattr(camt, "XmlParts", CountedParts)
    monkeypatch.setattr(inspection, "CACHE_ROWS", cache_rows)
    write(tmp_path, day(1), "1.xml")
    connector = bank("bank-de", tmp_path)
    _, cursor = await arrivals(connector)
    booked = entry("08", "1.00", "CRDT", ref="R-2") + entry("08", "2.00", "CRDT", ref="R-3")
    text = document("08", statement(booked, "1", "4", "S-2", number(2), "2026-03-02"))
    write(tmp_path, text, "2.xml")
    rows_: list[Any] = []
    for _ in range(3):
        page = await connector.poll("lines", cursor, 1, 20)
        cursor = page.cursor
        rows_ += [one.body["reference"] for one in page.deliveries]
    assert rows_ == ["R-2", "R-3"]
    assert parsed == passes
    await connector.close()


async def test_a_statement_brings_nothing_twice_under_another_name_or_message(tmp_path: Path) -> None:
    write(tmp_path, day(1))
    connector = bank("bank-de", tmp_path)
    first, cursor = await arrivals(connector)
    write(tmp_path, day(1).replace("M-1", "M-2"), "copy.xml")
    second, cursor = await arrivals(connector, cursor)
    assert [(one.ext_id, one.identity, one.content) for one in second] == [
        (one.ext_id, one.identity, one.content) for one in first
    ]
    assert len(await lines(bank("bank-de", tmp_path))) == 1
    await connector.close()


async def test_a_statement_with_the_same_id_and_another_content_is_refused(tmp_path: Path) -> None:
    write(tmp_path, day(1))
    connector = bank("bank-de", tmp_path)
    before, cursor = await arrivals(connector)
    write(tmp_path, day(1, amount="2.00"), "b.xml")
    with pytest.raises(
        Misconfigured, match=r"statement S-1 .* stands in a\.xml and, with another content, in b\.xml"
    ):
        await arrivals(connector, cursor)
    with pytest.raises(Misconfigured, match="with another content"):
        await lines(bank("bank-de", tmp_path))
    (tmp_path / "a.xml").unlink()
    await arrivals(connector, cursor)
    (after,) = await lines(bank("bank-de", tmp_path))
    assert (after.ext_id, after.identity) == (before[0].ext_id, before[0].identity)
    assert after.content != before[0].content  # the receipt of the first content stays, and a Case opens
    await connector.close()


async def test_a_gap_stops_the_feed_until_the_missing_statement_is_there(tmp_path: Path) -> None:
    write(tmp_path, day(1), "1.xml")
    connector = bank("bank-de", tmp_path)
    deliveries, cursor = await arrivals(connector)
    write(tmp_path, day(3), "3.xml")
    gap = r"statement 2 is missing between number 1 \(1\.xml\) and number 3 \(3\.xml\)"
    with pytest.raises(Misconfigured, match=gap):
        await arrivals(connector, cursor)
    with pytest.raises(Misconfigured, match=gap):
        await lines(bank("bank-de", tmp_path))
    write(tmp_path, day(2), "2.xml")
    deliveries, cursor = await arrivals(connector, cursor)
    assert [one.body["reference"] for one in deliveries] == ["R-3", "R-2"]
    assert len(await lines(bank("bank-de", tmp_path))) == 3
    await connector.close()


@pytest.mark.parametrize(
    ("former", "later", "expected"),
    [
        (day(1, number(7, 7)), day(2, number(8, 9)), "statement 8 is missing between number 7"),
        (day(1, number(365)), day(2, number(1)), ""),
        (day(1, number(365, 250)), day(2, number(366, 1)), ""),
        (day(1, number(365)), day(2, number(3)), "the numbers go back between number 365"),
        (day(1, " "), day(2, " "), ""),
        (day(1, " "), day(3, " "), "opens with 2, and the one before it, S-1 (1.xml), closed with 1.00"),
        (
            day(1, "<StmtPgntn><PgNb>1</PgNb></StmtPgntn>" + number(4), name="S"),
            day(2, "<StmtPgntn><PgNb>2</PgNb></StmtPgntn>" + number(4), name="S"),
            "",
        ),
    ],
)
async def test_statements_are_a_chain(tmp_path: Path, former: str, later: str, expected: str) -> None:
    write(tmp_path, later, "2.xml")
    write(tmp_path, former, "1.xml")
    if expected:
        with pytest.raises(Misconfigured) as raised:
            await lines(bank("bank-de", tmp_path))
        assert expected in str(raised.value)
    else:
        assert len(await lines(bank("bank-de", tmp_path))) == 2


def test_no_changed_line_or_byte_gives_another_total(tmp_path: Path) -> None:
    text = full("08").replace("><", ">\n<")
    expected = _content(rows("bank-de", write(tmp_path, text)))
    parts = text.splitlines(keepends=True)
    mutants = ["".join(parts[:n] + parts[n + 1 :]) for n in range(len(parts))]
    mutants += ["".join(parts[: n + 1] + parts[n:]) for n in range(len(parts))]
    mutants += [
        text[:n] + ("9" if n % 2 and text[n] != "9" else "A") + text[n + 1 :] for n in range(0, len(text), 15)
    ]
    accepted = refused = 0
    for mutant in mutants:
        try:
            found = rows("bank-de", write(tmp_path, mutant))
        except FileRefused:
            refused += 1
        else:
            accepted += 1
            assert _content(found) == expected, mutant
    assert min(accepted, refused) > 50


def _content(found: list[dict[str, Any]]) -> tuple[Any, ...]:
    return sum(Decimal(row["amount"]) for row in found), {row["currency"] for row in found}, len(found)


def test_the_memory_of_a_large_statement_is_bounded(tmp_path: Path) -> None:
    """Entries beyond the first ones need a few bytes each for the count of equal references."""
    body = entry("08", "1.00", "CRDT", details=wire("08"))
    peaks = []
    for count in (300, 800):
        entries = "".join(body.replace("E2E-7", f"E2E-{n}") for n in range(count))
        path = write(tmp_path, document("08", statement(entries, "0", f"{count}.00")))
        tracemalloc.start()
        assert sum(isinstance(row, SourceRow) for row in read_statements(path)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 500 * 500
    assert len(body) > 500
