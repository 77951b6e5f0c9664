"""A changed legal entity changes what recorded deliveries become: no field that reads it is copied from the past."""

from __future__ import annotations

import pytest

from counterfoil.model import Model
from counterfoil.replay.incremental_mapping import IncrementalMapping
from counterfoil.replay.paths import Paths
from tests.companies.base import documents, edited, model_of
from tests.companies.clean import COMPANY
from tests.companies.two_entities import TWO_ENTITIES

ENTITIES = (
    TWO_ENTITIES
    + """\
kind: mapping
name: bills-reopened
from: {system: bills, type: credit.reopened}
emit:
  type: credit.issued.v1
  key: body.id
  data: {credit_id: =body.id, total: "=minor(body.total, entity.currency)"}
"""
)
OTHER_ID = ("credit_id: =body.id", "credit_id: =body.credit")
OLD = model_of(documents(COMPANY, ENTITIES))


def changed(*edits: tuple[str, str]) -> Model:
    return model_of(edited(documents(COMPANY, ENTITIES), *edits))


@pytest.mark.parametrize(
    "edit",
    [
        ("currency: USD\nzone", "currency: CAD\nzone"),
        (
            "default: true\n---\nkind: legal_entity\nname: de\n",
            "---\nkind: legal_entity\nname: de\ndefault: true\n",
        ),
        ("settings: {region: eu}", "settings: {region: eu}\nlegal_entity: de"),
    ],
)
def test_nothing_is_copied_from_the_past_if_the_entity_of_a_delivery_changes(edit: tuple[str, str]) -> None:
    new = changed(OTHER_ID, edit)
    assert IncrementalMapping.of(OLD, changed(OTHER_ID), "bills", "credit.reopened") is not None
    assert IncrementalMapping.of(OLD, new, "bills", "credit.reopened") is None


@pytest.mark.parametrize(
    "edit",
    [
        ("currency: USD\nzone", "currency: CAD\nzone"),
        ("settings: {region: eu}", "settings: {region: eu}\nlegal_entity: de"),
    ],
)
def test_a_recorded_delivery_is_replayed_if_its_entity_changes(edit: tuple[str, str]) -> None:
    paths = Paths(OLD, changed(edit))
    assert not paths.delivery("bills", "credit.reopened").same
    assert "credit.issued.v1" in paths.differing_events
    same = Paths(OLD, changed(("title: Acme GmbH", "title: Acme GmbH  # of Munich")))
    assert same.delivery("bills", "credit.reopened").same
    assert same.differing_events == frozenset()
