"""Legal entities as documents: their form, their default, and every place that names one."""

from __future__ import annotations

from datetime import UTC, date, datetime
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterfoil.core.countries import COUNTRIES
from counterfoil.core.finding import Finding
from counterfoil.model import Model, read
from counterfoil.model.document import build
from counterfoil.model.entity_names import entity_formula, names_of
from counterfoil.model.kinds import LegalEntity
from counterfoil.model.source import Source
from counterfoil.model.template import formula
from counterfoil.rules.mapping import MappedEvents, MappingFailed, UnresolvedLink, apply_inbound
from tests.companies.base import edited, write
from tests.companies.clean import COMPANY, MARK

DAY = date(2026, 6, 1)
US = """\
---
kind: legal_entity
name: acme-us
title: Acme, Inc.
country: US
currency: USD
zone: America/New_York
default: true
"""
DE = """\
---
kind: legal_entity
name: acme-de
title: Acme GmbH
country: DE
currency: EUR
zone: Europe/Berlin
region: eu
tax_id: DE123456789
"""
LIMIT = "changes: [{kind: policy, name: credit-limit, set: {limit: {at_most: 100}}}]\n"
ON_MAPPING = "key: body.id\n  data:\n    credit_id: \"=canon('credit', body.id)\"\n"


def findings_of(folder: Path, *texts: str) -> tuple[Model, list[Finding]]:
    return read(write(folder, "".join(texts)))


def clean(folder: Path, *texts: str) -> Model:
    model, findings = findings_of(folder, COMPANY, *texts)
    assert [str(finding) for finding in findings] == []
    return model


def fields_of(text: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)


# ------------------------------------------------------------------ form


def test_the_country_codes_are_those_of_the_time_zone_database() -> None:
    table = resources.files("tzdata.zoneinfo").joinpath("iso3166.tab").read_text("utf-8")
    assert {line.split("\t")[0] for line in table.splitlines() if not line.startswith("#")} == COUNTRIES


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("country", "UK", "UK is not a country code of ISO 3166-1"),
        ("country", "de", "expected a country code such as US, not `de`"),
        ("country", "DEU", "expected a country code such as US, not `DEU`"),
        ("currency", "GBX", "'GBX' is not an ISO 4217 currency code with a minor unit"),
        ("currency", "eur", "expected a currency code such as USD, not `eur`"),
        ("currency", "XAU", "'XAU' is not an ISO 4217 currency code with a minor unit"),
        ("zone", "Europe/Munich", "unknown time zone Europe/Munich"),
        ("zone", "Europe", "unknown time zone Europe"),
        ("zone", "europe/berlin", "unknown time zone europe/berlin"),
        ("zone", "../Europe/Berlin", "unknown time zone ../Europe/Berlin"),
        ("title", '""', "expected a text that is not empty"),
        ("region", '""', "expected a text that is not empty"),
        ("default", "yes", "expected true or false, not `yes`"),
        ("name", "ACME", "expected a name"),
    ],
)
def test_a_wrong_value_is_reported_at_its_key(tmp_path: Path, key: str, value: str, message: str) -> None:
    others = "".join(f"{k}: {v}\n" for k, v in fields_of(DE).items() if k != key)
    _, findings = findings_of(tmp_path, f"{key}: {value}\n{others}")
    (finding,) = findings
    assert (finding.rule, finding.line) == ("wrong-value", 1)
    assert message in finding.message


@pytest.mark.parametrize("key", ["title", "country", "currency", "zone"])
def test_a_missing_key_is_reported(tmp_path: Path, key: str) -> None:
    _, findings = findings_of(tmp_path, "".join(f"{k}: {v}\n" for k, v in fields_of(DE).items() if k != key))
    assert [(f.rule, f.message) for f in findings] == [("missing-key", f"`{key}` is missing")]


def test_norway_is_a_text(tmp_path: Path) -> None:
    model, findings = findings_of(tmp_path, edited(DE, ("country: DE", "country: NO")))
    assert findings == []
    assert model.legal_entities["acme-de"].country == "NO"


@given(st.builds("".join, st.tuples(*[st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ")] * 2)))
def test_exactly_the_countries_of_the_standard_are_accepted(code: str) -> None:
    document, findings = build(Source("entity.yaml", {**fields_of(DE), "country": code}))
    assert (document is not None, not findings) == (code in COUNTRIES, code in COUNTRIES)


# ------------------------------------------------------------------ the Model


def test_a_folder_without_entities_has_none_and_no_default(tmp_path: Path) -> None:
    model = clean(tmp_path)
    assert (model.legal_entities, model.default_entity) == ({}, "")


def test_entities_are_part_of_the_model_and_of_its_stored_form(tmp_path: Path) -> None:
    model = clean(tmp_path, US, DE)
    assert list(model.legal_entities) == ["acme-us", "acme-de"]
    again = Model.from_json(model.to_json())
    assert again.digest == model.digest
    assert again.legal_entities == model.legal_entities
    assert again.default_entity == "acme-us"
    assert again.legal_entities["acme-de"] == LegalEntity(
        name="acme-de",
        title="Acme GmbH",
        country="DE",
        currency="EUR",
        zone="Europe/Berlin",
        region="eu",
        tax_id="DE123456789",
    )


def test_a_single_entity_is_the_default(tmp_path: Path) -> None:
    assert clean(tmp_path, DE).default_entity == "acme-de"


NO_DEFAULT = US.replace("default: true\n", "")


@pytest.mark.parametrize(
    ("texts", "message", "key"),
    [
        ((NO_DEFAULT, DE), "none of the 2 legal entities is the default", "name: acme-us"),
        (
            (US, DE + "default: true\n"),
            "the legal entity `acme-us` is the default already",
            "default: true",
        ),
        (
            (NO_DEFAULT, DE + "default: false\n"),
            "none of the 2 legal entities is the default",
            "name: acme-us",
        ),
    ],
)
def test_several_entities_have_exactly_one_default(
    tmp_path: Path, texts: tuple[str, ...], message: str, key: str
) -> None:
    _, findings = findings_of(tmp_path, COMPANY, *texts)
    (finding,) = findings
    assert (finding.rule, finding.message) == ("default-entity", message)
    assert Path(finding.file).read_text("utf-8").splitlines()[finding.line - 1] == key


@given(st.lists(st.booleans(), max_size=5))
def test_the_default_is_the_marked_entity_or_the_only_one(marks: list[bool]) -> None:
    data = [{**fields_of(DE), "name": f"acme-{number}", "default": mark} for number, mark in enumerate(marks)]
    model = Model.from_documents(data)
    marked = [number for number, mark in enumerate(marks) if mark]
    expected = marked[:1] or ([0] if len(marks) == 1 else [])
    assert model.default_entity == "".join(f"acme-{number}" for number in expected)


# ------------------------------------------------------------------ names of entities

PLACES = {
    "role": "---\nkind: role\nname: clerk\nentities: [acme-us, ENTITY]\n",
    "system": "---\nkind: system\nname: shop\nrole: crm\nconnector: external\nowner: finance\nlegal_entity: ENTITY\n",
    "overlay": "---\nkind: overlay\nname: there\nof: {legal_entity: ENTITY}\n" + LIMIT,
    "one of an overlay": "---\nkind: overlay\nname: there\nof: {legal_entity: [acme-us, ENTITY]}\n" + LIMIT,
    "calendar": "---\nkind: calendar\nname: close\nchanges: [{what: close, from: 2026-12-28, legal_entity: ENTITY}]\n",
    "test": "---\nkind: test\nname: a-credit\ngiven: [{event: credit.requested.v1, legal_entity: ENTITY}]\nexpect: {cases: []}\n",
    "table": "---\nkind: table\nname: accounts\nowner: finance\nkey: [legal_entity]\nvalue: account\nrows: [{legal_entity: acme-us, account: '1'}, {legal_entity: ENTITY, account: '2'}]\n",
    "another table": "---\nkind: table\nname: accounts\nowner: finance\nkey: [reason, entity]\nvalue: account\nrows: [{reason: x, entity: ENTITY, account: '2'}]\n",
}
"""A document for each place that names an entity."""
IN_MAPPING = {
    "the envelope": "legal_entity: \"'ENTITY'\"\n  ",
    "a choice of the envelope": "legal_entity: \"body.eu ? 'ENTITY' : body.uk ? 'acme-us' : body.entity\"\n  ",
}


def company_naming(place: str, name: str) -> str:
    """Return the company with one place that names an entity. The overlay needs a fact with an entity."""
    text = COMPANY
    if place in IN_MAPPING:
        return edited(text, (ON_MAPPING, IN_MAPPING[place].replace("ENTITY", name) + ON_MAPPING))
    if "overlay" in place:
        text = edited(text, (ON_MAPPING, 'legal_entity: "body.entity"\n  ' + ON_MAPPING))
    return text + PLACES[place].replace("ENTITY", name)


def unknown(findings: list[Finding]) -> list[Finding]:
    return [f for f in findings if f.rule in ("unknown-reference", "unknown-entity")]


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("place", [*PLACES, *IN_MAPPING])
def test_an_unknown_entity_is_reported_where_it_is_named(tmp_path: Path, place: str, declared: bool) -> None:
    """Roles and systems name documents always. Facts may have any entity while a folder declares none."""
    text = company_naming(place, "acme-dee")
    entities = US + DE if declared else ""
    _, findings = findings_of(tmp_path, text, entities)
    found = [f for f in unknown(findings) if "acme-dee" in f.message]
    if not declared and place not in ("role", "system"):
        assert unknown(findings) == []
        return
    (finding,) = found
    assert "there is no legal" in finding.message
    assert "acme-dee" in (tmp_path / "company.yaml").read_text("utf-8").splitlines()[finding.line - 1]
    if declared:
        assert finding.fix == "did you mean `acme-de`?"
    else:
        assert finding.fix == "add a document of kind legal_entity named acme-dee"


@pytest.mark.parametrize("place", [*PLACES, *IN_MAPPING])
def test_a_declared_entity_is_accepted_everywhere(tmp_path: Path, place: str) -> None:
    _, findings = findings_of(tmp_path, company_naming(place, "acme-de"), US, DE)
    assert unknown(findings) == []


def test_a_literal_in_the_data_of_a_mapping_names_an_entity(tmp_path: Path) -> None:
    text = edited(
        COMPANY,
        ("data: {credit_id: id, total: money}", "data: {credit_id: id, total: money, legal_entity: string}"),
        (
            '    total: "=minor(body.total, c)"\n',
            f'    total: "=minor(body.total, c)"\n    legal_entity: acme-dee  {MARK}\n',
        ),
    )
    _, findings = findings_of(tmp_path, text, US, DE)
    (finding,) = unknown(findings)
    assert finding.message == "there is no legal_entity `acme-dee`"
    assert (tmp_path / "company.yaml").read_text("utf-8").splitlines()[finding.line - 1].endswith(MARK)


def test_constants_that_are_no_entity_are_left_alone(tmp_path: Path) -> None:
    """A look-up's key, a compared text and a field's name are not the entity of the fact."""
    text = edited(
        COMPANY,
        (
            ON_MAPPING,
            "legal_entity: \"body.kind == 'eu' ? string(table('rates', 'eu')) : body['entity']\"\n  "
            + ON_MAPPING,
        ),
    )
    _, findings = findings_of(tmp_path, text, US, DE)
    assert unknown(findings) == []


def test_the_entity_of_a_reconciliation_is_checked(tmp_path: Path) -> None:
    observe = "  event: credit.posted.v1\n  key: event.data.credit_id\n  legs: {gross: event.data.amount}\n"
    entry = "{event: credit.posted.v1, document: event.data.credit_id, key: event.data.credit_id, legs: {gross: event.data.amount}, "
    text = edited(COMPANY, (f"observe:\n{observe}", f"observe:\n  - {entry}entity: \"'acme-dee'\"}}\n"))
    _, findings = findings_of(tmp_path, text, US, DE)
    (finding,) = unknown(findings)
    assert finding.message == "there is no legal_entity `acme-dee`"
    assert "acme-dee" in text.splitlines()[finding.line - 1]


# ------------------------------------------------------------------ regions

REGION = """\
---
kind: table
name: region
owner: finance
key: [legal_entity]
value: region
rows: [{legal_entity: acme-de, region: emea}, {legal_entity: acme-us, region: americas}]
"""


def test_the_region_of_an_entity_replaces_the_table(tmp_path: Path) -> None:
    model = clean(tmp_path, US, DE, REGION)
    assert [model.envelope.region(name, DAY) for name in ("acme-de", "acme-us", "acme-fr", "")] == [
        "eu",
        "americas",
        "",
        "",
    ]


def test_an_overlay_of_a_region_needs_no_table_if_entities_state_theirs(tmp_path: Path) -> None:
    there = "---\nkind: overlay\nname: eu\nof: {region: eu}\n" + LIMIT
    text = edited(COMPANY, (ON_MAPPING, 'legal_entity: "body.entity"\n  ' + ON_MAPPING))
    model, findings = findings_of(tmp_path, text, US, DE, there)
    assert findings == []
    limits = [model.at(name, DAY).policies["credit-limit"].limit for name in ("acme-de", "acme-us")]
    assert [limit and limit.at_most for limit in limits] == [100, 5000]


def test_a_region_that_no_entity_states_is_reported(tmp_path: Path) -> None:
    there = "---\nkind: overlay\nname: eu\nof: {region: eux}\n" + LIMIT
    text = edited(COMPANY, (ON_MAPPING, 'legal_entity: "body.entity"\n  ' + ON_MAPPING))
    _, findings = findings_of(tmp_path, text, US, DE, there)
    assert [(f.rule, f.message, f.fix) for f in findings] == [
        ("overlay-form", "no legal entity is in eux", "did you mean `eu`?")
    ]


# ------------------------------------------------------------------ `entity` in mappings

READS = """\
---
kind: object
name: account
system: shop
fields: {account_id: string}
---
kind: system
name: shop
role: crm
connector: external
owner: finance{system}
---
kind: event
name: account.opened.v1
object: account
data: {account_id: id, entity: any, day: date, currency: string}
---
kind: mapping
name: shop-account
from: {{system: shop, type: account}}
emit:
  type: account.opened.v1
  key: body.id
  {entity}
  data:
    account_id: =body.id
    entity: =entity
    day: "=date(timestamp('2026-03-31T23:00:00Z'), entity.zone)"
    currency: =entity.currency
"""


def reading(entity: str, system: str = "") -> str:
    """Return the documents of a mapping that reads `entity`, with the line about the fact's entity."""
    text = READS.replace("{system}", f"\nlegal_entity: {system}" if system else "")
    return text.replace("{entity}", entity).replace("{{", "{").replace("}}", "}")


def mapped(model: Model, body: dict[str, object]) -> MappedEvents | UnresolvedLink | MappingFailed:
    (mapping,) = model.inbound("shop", "account")
    return apply_inbound(mapping, body, None, datetime(2026, 4, 1, tzinfo=UTC), {})


@pytest.mark.parametrize(
    ("line", "system", "body", "entity"),
    [
        ("legal_entity: body.of", "", {"of": "acme-de"}, "acme-de"),
        ("legal_entity: body.of", "acme-de", {"of": "acme-us"}, "acme-us"),
        ("legal_entity: body.of", "", {"of": ""}, "acme-us"),
        ("legal_entity: body.of", "", {"of": None}, "acme-us"),
        ("legal_entity: body.of", "acme-de", {"of": None}, "acme-de"),
        ("legal_entity: \"'acme-de'\"", "", {}, "acme-de"),
        ("version: body.no", "", {"no": 1}, "acme-us"),
        ("version: body.no", "acme-de", {"no": 1}, "acme-de"),
    ],
)
def test_a_mapping_reads_the_document_of_the_entity_of_its_fact(
    tmp_path: Path, line: str, system: str, body: dict[str, object], entity: str
) -> None:
    model = clean(tmp_path, US, DE, reading(line, system))
    result = mapped(model, {"id": "A1", **body})
    assert isinstance(result, MappedEvents)
    (event,) = result.events
    document = model.legal_entities[entity]
    assert event.data == {
        "account_id": "A1",
        "entity": names_of(document),
        "day": date(2026, 3, 31) if entity == "acme-us" else date(2026, 4, 1),
        "currency": document.currency,
    }
    assert event.legal_entity == str(body.get("of") or ("acme-de" if "'acme-de'" in line else ""))


def test_a_fact_of_an_unknown_entity_is_not_mapped_by_the_default(tmp_path: Path) -> None:
    result = mapped(clean(tmp_path, US, DE, reading("legal_entity: body.of")), {"id": "A1", "of": "acme-fr"})
    assert isinstance(result, MappingFailed)
    assert "acme-fr" in result.message


def test_the_fields_of_an_entity_are_typed(tmp_path: Path) -> None:
    text = reading("legal_entity: body.of").replace("=entity.currency", "=entity.curency")
    _, findings = findings_of(tmp_path, COMPANY, US, DE, text)
    (finding,) = findings
    assert finding.rule == "unknown-name"
    assert "curency" in finding.message


def test_a_folder_without_entities_and_objects_has_no_name_entity(tmp_path: Path) -> None:
    _, findings = findings_of(tmp_path, COMPANY, reading("legal_entity: body.of"))
    assert {f.rule for f in findings} == {"unknown-name"}


def test_a_let_of_the_name_entity_goes_before_the_document(tmp_path: Path) -> None:
    text = reading("legal_entity: body.of").replace(
        "emit:", "let: {entity: \"{'zone': 'Asia/Tokyo', 'currency': body.c}\"}\nemit:"
    )
    result = mapped(clean(tmp_path, US, DE, text), {"id": "A1", "of": "acme-us", "c": "JPY"})
    assert isinstance(result, MappedEvents)
    assert result.events[0].data["currency"] == "JPY"


@given(title=st.text(min_size=1, max_size=40), tax_id=st.none() | st.text(min_size=1, max_size=20))
def test_every_text_of_a_document_reaches_its_formula_unchanged(title: str, tax_id: str | None) -> None:
    data = {**fields_of(DE), "title": title} | ({"tax_id": tax_id} if tax_id is not None else {})
    if tax_id is None:
        data.pop("tax_id")
    model = Model.from_documents([data])
    expression = formula(entity_formula(model, "name", "acme-de"))
    entity = names_of(model.legal_entities["acme-de"])
    assert entity == {"id": "acme-de", "region": "eu", "title": title, "tax_id": tax_id} | {
        key: data[key] for key in ("country", "currency", "zone")
    }
    assert [expression({"name": name}, None) for name in ("acme-de", "", None)] == [entity] * 3


# ------------------------------------------------------------------ overlays of roles

CLERK = "---\nkind: role\nname: clerk\nentities: [acme-us]\n"
IN_TEST = "---\nkind: overlay\nname: test\nof: {environment: test}\nchanges: [{kind: role, name: clerk, set: {entities: [WHICH]}}]\n"


@pytest.mark.parametrize(
    ("which", "weaker"), [("acme-us, acme-de", True), ("acme-de", True), ("acme-us", False)]
)
def test_an_overlay_by_which_a_role_sees_more_entities_says_why(
    tmp_path: Path, which: str, weaker: bool
) -> None:
    texts = (COMPANY, US, DE, CLERK, IN_TEST.replace("WHICH", which))
    _, findings = findings_of(tmp_path, *texts)
    assert [f.rule for f in findings] == (["overlay-loosens"] if weaker else [])


def test_a_role_without_entities_sees_every_one_and_an_empty_list_is_refused(tmp_path: Path) -> None:
    model = clean(tmp_path, US, DE, "---\nkind: role\nname: clerk\n", CLERK.replace("clerk", "bound"))
    assert (model.roles["clerk"].entities, model.roles["bound"].entities) == (None, ["acme-us"])
    _, findings = findings_of(tmp_path, COMPANY, US, DE, CLERK.replace("[acme-us]", "[]"))
    assert [f.rule for f in findings] == ["wrong-value"]


@pytest.mark.parametrize(
    ("cap", "messages"),
    [
        ("{USD: 50000}", ["there is no cap in EUR, so waivers of acme-de have no limit"]),
        ("{USD: 50000, EUR: 50000}", []),
        ("{GBP: 1, EUR: 1}", ["there is no cap in USD, so waivers of acme-us have no limit"]),
        ("{}", []),
    ],
)
def test_a_cap_is_stated_in_the_currency_of_each_legal_entity(
    tmp_path: Path, cap: str, messages: list[str]
) -> None:
    text = edited(
        COMPANY, ("kind: reconciliation\nname: credit\n", f"kind: reconciliation\nname: credit\ncap: {cap}\n")
    )
    _, findings = findings_of(tmp_path, text, US, DE)
    assert [f.message for f in findings if f.rule == "cap-currency"] == messages
