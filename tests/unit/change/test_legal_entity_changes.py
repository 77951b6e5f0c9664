"""Changes of legal entities: their classes, whom they touch, and the days of calendars in their zone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from counterfoil.change.calendar import calendar_notices
from counterfoil.change.difference import DocumentChange, difference
from counterfoil.model import Model
from counterfoil.model.catalog import Catalog, Edge
from tests.companies.base import documents, edited, model_of
from tests.companies.clean import COMPANY
from tests.companies.two_entities import TWO_ENTITIES

ENTITIES = (
    TWO_ENTITIES
    + """\
kind: role
name: clerk
entities: [us, de]
---
kind: system
name: shop
role: crm
connector: external
owner: finance
legal_entity: de
---
kind: calendar
name: close
zone: UTC
changes: [{what: close, from: 2026-07-01, to: 2026-07-01, legal_entity: de, effect: refuse}]
"""
)
PLAIN = model_of(documents(COMPANY, ENTITIES))


def only(*edits: tuple[str, str]) -> DocumentChange:
    (change,) = difference(PLAIN, model_of(documents(COMPANY, edited(ENTITIES, *edits))))
    return change


@pytest.mark.parametrize(
    ("old", "new", "classes"),
    [
        ("currency: EUR", "currency: CHF", ("money", "ownership")),
        ("zone: Europe/Berlin", "zone: Europe/Vienna", ("money", "ownership")),
        ("region: eu", "region: emea", ("money", "approval", "ownership")),
        ("region: eu", "tax_id: DE1", ("money", "approval", "ownership")),
        ("title: Acme GmbH", "title: Acme AG", ("ownership",)),
        ("country: DE", "country: AT", ("ownership",)),
        ("region: eu", "region: eu\ntax_id: DE1", ("ownership",)),
        ("region: eu", "region: eu\ndoc: closed in May", ("text",)),
        ("region: eu", "region: eu\nowner: finance", ("ownership",)),
        ("entities: [us, de]", "entities: [us]", ("security",)),
        ("legal_entity: de\n---", "legal_entity: us\n---", ("security", "ownership")),
    ],
)
def test_a_change_has_the_classes_of_what_is_at_risk(old: str, new: str, classes: tuple[str, ...]) -> None:
    assert only((old, new)).classes == classes


def test_another_default_concerns_money_and_access() -> None:
    text = edited(ENTITIES, ("default: true\n", ""), ("region: eu\n", "region: eu\ndefault: true\n"))
    changes = difference(PLAIN, model_of(documents(COMPANY, text)))
    assert [(c.name, c.classes) for c in changes] == [
        (name, ("money", "security", "ownership")) for name in ("de", "us")
    ]


def test_a_new_entity_has_every_class_and_breaks_nobody() -> None:
    before = model_of(documents(COMPANY, ENTITIES.partition("---\nkind: legal_entity")[0]))
    after = model_of(documents(COMPANY, ENTITIES.partition("---\nkind: role")[0]))
    (change,) = difference(before, after)
    assert (change.kind, change.name, change.change) == ("legal_entity", "de", "added")
    assert change.classes == ("money", "approval", "ownership")
    assert not change.breaking


def test_the_order_of_a_roles_entities_and_a_stated_default_mean_nothing() -> None:
    text = edited(
        ENTITIES,
        ("entities: [us, de]", "entities: [de, us]"),
        ("region: eu\n", "region: eu\ndefault: false\n"),
    )
    assert difference(PLAIN, model_of(documents(COMPANY, text))) == []


READER = """\
kind: mapping
name: shop-credit
from: {system: bills, type: credit.reopened}
emit:
  type: credit.issued.v1
  key: body.id
  data: {credit_id: =body.id, total: "=minor(body.total, entity.currency)"}
"""


def test_a_changed_entity_touches_what_names_it_and_what_reads_it() -> None:
    models = [
        model_of(documents(COMPANY, text, READER))
        for text in (ENTITIES, edited(ENTITIES, ("currency: EUR", "currency: CHF")))
    ]
    (change,) = difference(*models)
    assert [(user.kind, user.name) for user in change.affects] == [
        ("calendar", "close"),
        ("mapping", "shop-credit"),
        ("role", "clerk"),
        ("system", "shop"),
    ]


def test_the_catalog_lists_entities_and_who_uses_them() -> None:
    catalog = Catalog(PLAIN)
    assert [entry.name for entry in catalog.search(kind="legal_entity")] == ["de", "us"]
    assert catalog.of(("legal_entity", "us")) == [Edge(("role", "clerk"), "uses", ("legal_entity", "us"))]


def test_entities_are_part_of_a_stored_release() -> None:
    again = Model.from_json(PLAIN.to_json())
    assert difference(PLAIN, again) == []
    assert (again.digest, again.legal_entities) == (PLAIN.digest, PLAIN.legal_entities)


@pytest.mark.parametrize(
    ("moment", "refused"),
    [
        (datetime(2026, 6, 30, 21, 59, tzinfo=UTC), False),
        (datetime(2026, 6, 30, 22, 0, tzinfo=UTC), True),
        (datetime(2026, 7, 1, 21, 59, tzinfo=UTC), True),
        (datetime(2026, 7, 1, 22, 0, tzinfo=UTC), False),
    ],
)
def test_the_days_of_a_calendar_are_in_the_zone_of_the_document(moment: datetime, refused: bool) -> None:
    """A recorded object of the same id, and the zone of the calendar, do not count."""
    after = model_of(documents(COMPANY, edited(ENTITIES, ("title: Acme GmbH", "title: Acme AG"))))
    changes = difference(PLAIN, after)
    notices = calendar_notices(PLAIN, after, changes, moment, {"de": "Asia/Tokyo"})
    assert [notice.effect for notice in notices] == (["refuse"] if refused else [])
