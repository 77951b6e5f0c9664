"""Headers of a response that used a deprecated version."""

from __future__ import annotations

from datetime import UTC, datetime

from counterfoil.model import kinds
from counterfoil.rules.versions import DeprecationNotice
from counterfoil.web.http.deprecation_headers import headers_of, lifecycle_headers

SINCE, SUNSET = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)
OLD = kinds.Event(
    name="invoice.closed.v1",
    data={},
    deprecated=kinds.Deprecated(since="2026-01-01", sunset="2026-07-01", use="invoice.closed.v2"),
)


def test_a_deprecated_event_names_both_days_and_its_successor() -> None:
    assert lifecycle_headers(OLD, datetime(2026, 3, 1, tzinfo=UTC)) == {
        "deprecation": "@1767225600",
        "sunset": "Wed, 01 Jul 2026 00:00:00 GMT",
        "link": '</v1/contracts?name=invoice.closed.v2>; rel="successor-version"',
    }


def test_a_version_that_is_not_deprecated_has_no_headers() -> None:
    assert lifecycle_headers(OLD, datetime(2025, 12, 31, 23, 59, tzinfo=UTC)) == {}
    assert lifecycle_headers(kinds.Event(name="invoice.closed.v2", data={}), SUNSET) == {}


def test_an_operation_links_to_its_successor() -> None:
    used = kinds.Operation(
        name="erp.credit.post",
        system="ledger",
        repeat="unique",
        deprecated=kinds.Deprecated(since="2026-01-01", use="erp.credit.post.v2"),
    )
    link = '</v1/operations/erp.credit.post.v2>; rel="successor-version"'
    assert lifecycle_headers(used, SINCE) == {"deprecation": "@1767225600", "link": link}


def test_several_versions_in_one_batch_give_the_earliest_days() -> None:
    later = DeprecationNotice(name="b.v1", since=SUNSET, sunset=None, use="b.v2", past_sunset=False)
    sooner = DeprecationNotice(name="a.v1", since=SINCE, sunset=SUNSET, use="a.v2", past_sunset=False)
    headers = headers_of([later, sooner])
    assert headers["deprecation"] == "@1767225600"
    assert headers["sunset"] == "Wed, 01 Jul 2026 00:00:00 GMT"
    assert headers["link"].count("successor-version") == 2
