"""Customers, by their code: our canonical id, which the ERP keeps unique."""

from __future__ import annotations

from typing import Any

from counterfoil.connectors.http import Deadline
from counterfoil.connectors.sdk import Absent, Confirmed, Finding, Rejected
from counterfoil.core.errors import ErrorClass, Refused, TryAgain, Uncertain

from .inputs import PartyInput
from .names import Names
from .rest import Record, Rest, version

FIELDS = (
    "code", "name", "active", "last_modified_at", "addresses.sequence", "addresses.street", "addresses.city",
    "addresses.postal_code", "addresses.country.code", "identifiers.type", "identifiers.code",
)  # fmt: skip
_ADDRESS = ("street", "city", "postal_code")


def party_of(record: Record) -> Record:
    """Return a party as the result of operations, with its first address and its tax id."""
    address = _address(record) or {}
    identifier = _tax_identifier(record) or {}
    return {
        "id": record["id"],
        "code": record["code"],
        "name": record["name"],
        "active": record["active"],
        **{name: address.get(name) or None for name in _ADDRESS},
        "country": (address.get("country") or {}).get("code"),
        "tax_id": identifier.get("code"),
        "version": version(record),
    }


class Parties:
    def __init__(self, rest: Rest, names: Names) -> None:
        self._rest = rest
        self._names = names

    async def upsert(self, party: PartyInput, by: Deadline) -> Record:
        """Create or update the party. Absent fields keep their values. Raises Refused, TryAgain or Uncertain."""
        if not party.code or not party.name:
            raise Refused("a party needs a code and a name", ErrorClass.INVALID, "input")
        country = await self._names.id_of("country", party.country, by) if party.country else None
        record = await self._by_code(party.code, by)
        if record is None:
            await self._rest.create("party.party", _new(party, country), by)
        elif _differs(record, party):
            await self._rest.write("party.party", int(record["id"]), _changes(record, party, country), by)
        else:
            return party_of(record)
        try:
            written = await self._by_code(party.code, by)
        except (TryAgain, Refused) as error:
            raise Uncertain(f"party {party.code} is written but could not be read back: {error}") from error
        if written is None:
            raise Uncertain(f"party {party.code} is written but cannot be found")
        return party_of(written)

    async def find(self, party: PartyInput, by: Deadline) -> Finding:
        """Return the outcome of an upsert. Raises TryAgain or Refused if the look-up fails."""
        record = await self._by_code(party.code, by)
        if record is None:
            return Absent()
        if _differs(record, party):
            message = f"party {party.code} exists, but with other values than requested"
            return Rejected(ErrorClass.TRANSIENT, message, "differs")
        return Confirmed(party_of(record))

    async def get(self, number: int | None, code: str | None, by: Deadline) -> Record:
        """Return a party by its ERP id or its code. Raises Refused(NOT_FOUND) or TryAgain."""
        if number is not None:
            return party_of(await self._rest.get("party.party", number, FIELDS, by))
        record = await self._by_code(code or "", by)
        if record is None:
            raise Refused(f"the ERP has no party {code!r}", ErrorClass.NOT_FOUND)
        return party_of(record)

    async def _by_code(self, code: str, by: Deadline) -> Record | None:
        # The code is unique among inactive parties too, so search them as well.
        domain = [["code", "=", code], ["active", "in", [True, False]]]
        records = await self._rest.search("party.party", domain, FIELDS, by, limit=2)
        return records[0] if records else None


def _new(party: PartyInput, country: int | None) -> dict[str, Any]:
    address = {name: value for name in _ADDRESS if (value := getattr(party, name)) is not None}
    if country is not None:
        address["country"] = country
    values: dict[str, Any] = {"code": party.code, "name": party.name, "addresses": [["create", [address]]]}
    if party.tax_id is not None:
        values["identifiers"] = [["create", [{"type": None, "code": party.tax_id}]]]
    return values


def _changes(record: Record, party: PartyInput, country: int | None) -> dict[str, Any]:
    values: dict[str, Any] = {"name": party.name, "active": True}
    address = {name: value for name in _ADDRESS if (value := getattr(party, name)) is not None}
    if country is not None:
        address["country"] = country
    if address:
        first = _address(record)
        values["addresses"] = [["write", [first["id"]], address] if first else ["create", [address]]]
    if party.tax_id is not None:
        identifier = _tax_identifier(record)
        row = {"type": None, "code": party.tax_id}
        values["identifiers"] = [["write", [identifier["id"]], row] if identifier else ["create", [row]]]
    return values


def _differs(record: Record, party: PartyInput) -> bool:
    current = party_of(record)
    requested = {name: getattr(party, name) for name in ("name", *_ADDRESS, "country", "tax_id")}
    return not current["active"] or any(
        value is not None and (current[name] or "") != value for name, value in requested.items()
    )


def _address(record: Record) -> Record | None:
    rows = sorted(record["addresses"], key=lambda row: (row["sequence"] is None, row["sequence"], row["id"]))
    return rows[0] if rows else None


def _tax_identifier(record: Record) -> Record | None:
    """Return the identifier that this connector writes: the first one without a type, which the ERP does not check."""
    rows = sorted(record["identifiers"], key=lambda row: row["id"])
    return next((row for row in rows if row["type"] is None), None)
