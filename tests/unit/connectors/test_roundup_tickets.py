"""The place of a poll in a list that shows whole seconds and orders by milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from counterfoil.connectors.roundup.tickets import (
    TicketCursor,
    delivery_of,
    flatten,
    identity,
    moment,
    state_id,
)
from counterfoil.core.errors import Misconfigured

OVERLAP = timedelta(seconds=5)


def ticket(number: int, second: int, revision: int = 1) -> dict[str, Any]:
    return {"id": str(number), "activity": f"2026-03-31T10:00:{second:02d}Z", "revision": revision}


def test_the_cursor_stays_a_little_behind_and_remembers_what_it_delivered() -> None:
    cursor = TicketCursor().past([ticket(1, 10), ticket(2, 20), ticket(3, 22)], OVERLAP)
    assert cursor.since == "2026-03-31.10:00:17"
    assert set(cursor.seen) == {state_id(ticket(2, 20)), state_id(ticket(3, 22))}


def test_a_change_that_committed_late_is_still_ahead_of_the_cursor() -> None:
    cursor = TicketCursor().past([ticket(3, 22)], OVERLAP)
    late = ticket(4, 19)
    assert cursor.since <= "2026-03-31.10:00:19"
    assert state_id(late) not in cursor.seen


def test_the_cursor_never_goes_back() -> None:
    cursor = TicketCursor().past([ticket(3, 40)], OVERLAP)
    after = cursor.past([ticket(4, 36)], OVERLAP)
    assert after.since == cursor.since
    assert {state_id(ticket(3, 40)), state_id(ticket(4, 36))} <= set(after.seen)
    assert after.past([], OVERLAP) == after


def test_two_states_in_one_second_are_two_marks() -> None:
    assert state_id(ticket(1, 10, 1)) != state_id(ticket(1, 10, 2))
    plain = {"id": "1", "activity": "2026-03-31T10:00:10Z", "title": "a"}
    assert state_id(plain) != state_id({**plain, "title": "b"})
    assert state_id(plain) == state_id(dict(reversed(plain.items())))


def test_a_cursor_reads_what_it_wrote() -> None:
    cursor = TicketCursor().past([ticket(3, 22)], OVERLAP)
    assert TicketCursor.read(cursor.write()) == cursor
    assert TicketCursor.read(None) == TicketCursor()
    with pytest.raises(Misconfigured):
        TicketCursor.read('{"since": 3}')


def test_links_become_names_and_lists_become_ids() -> None:
    attributes = {
        "activity": "2026-03-31.10:00:22",
        "status": {"id": "9", "link": "x/status/9", "name": "credit-requested"},
        "creator": {"id": "4", "link": "x/user/4"},
        "messages": [{"id": "7", "link": "x/msg/7", "messageid": None}, "8"],
        "credit_amount": "1.10",
        "assignedto": None,
    }
    assert flatten("5", attributes) == {
        "id": "5",
        "activity": "2026-03-31T10:00:22Z",
        "status": "credit-requested",
        "creator": "4",
        "messages": ["7", "8"],
        "credit_amount": "1.10",
        "assignedto": None,
    }


@pytest.mark.parametrize(
    ("fields", "event"),
    [
        ({"revision": 1}, "issue.created"),
        ({"revision": 2}, "issue.updated"),
        ({"creation": "2026-03-31T10:00:22Z"}, "issue.created"),
        ({"creation": "2026-03-31T10:00:21Z"}, "issue.updated"),
    ],
)
def test_a_polled_state_says_whether_it_is_the_first(fields: dict[str, Any], event: str) -> None:
    polled = delivery_of({"id": "5", "activity": "2026-03-31T10:00:22Z", **fields})
    assert (polled.type, polled.body["event"]) == (event, event)
    assert polled.identity == identity(polled.body, event)
    assert polled.occurred_at == datetime(2026, 3, 31, 10, 0, 22, tzinfo=UTC)


def test_a_moment_without_a_zone_is_none() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        moment("2026-03-31T10:00:22")
