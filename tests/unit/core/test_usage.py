"""A batch of usage is read as exactly and as strictly whether the fast way takes it or the slow one."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from counterfoil.core import usage
from counterfoil.core.event import BATCH
from counterfoil.core.usage import UsageEvent, read_batch, same_content
from counterfoil.core.wire import WireRefused


def event(data: str = '{"quantity": 1.50}', more: str = "", id_: str = "u1") -> str:
    return (
        f'{{"specversion": "1.0", "id": "{id_}", "source": "/product", "type": "usage.recorded.v1",'
        f' "time": "2026-03-01T12:00:00Z", "data": {data}{more}}}'
    )


def read(*events: str) -> list[Any]:
    return read_batch(f"[{','.join(events)}]".encode(), BATCH)[0]


def slow(monkeypatch: pytest.MonkeyPatch, *events: str) -> list[Any]:
    with monkeypatch.context() as patch:
        patch.setattr(usage, "_read_plain", lambda body: None)
        return read(*events)


def test_the_fast_way_is_taken_and_reads_what_the_slow_one_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [event(), event(id_="u2", more=', "subject": "s"'), event(id_="u3", data='{"n": 12, "b": true}')]
    events.append(event(id_="u4").replace("12:00:00Z", "13:00:00+01:00"))
    plain = usage._read_plain(f"[{','.join(events)}]".encode())
    assert [type(each) for each in plain] == [UsageEvent] * 4
    events_read = slow(monkeypatch, *events)
    assert [(e.id, e.source, e.type, e.time, e.data) for e in plain] == [
        (e.id, e.source, e.type, e.time, e.data) for e in events_read
    ]
    assert str(plain[0].data["quantity"]) == "1.50"
    assert type(plain[0].data["quantity"]) is Decimal


@pytest.mark.parametrize(
    "invalid",
    [
        event(more=', "data": {"quantity": 2}'),
        event(data='{"quantity": 1, "quantity": 2}'),
        event(more=', "id": "u2"'),
        "[" * 100 + "]" * 100,
        event(data=f'{{"quantity": {"9" * 101}}}'),
        event(data='{"quantity": 1e999}'),
        event(data='{"quantity": NaN}'),
        event(data='{"quantity": "\\ud800"}'),
        event()[:-1],
    ],
)
def test_what_is_not_strict_json_refuses_the_batch(invalid: str) -> None:
    with pytest.raises(WireRefused):
        read(event(id_="u0"), invalid)


@pytest.mark.parametrize(
    "other",
    [
        event(data='{"quantity": {"nested": [1]}}'), event(data='{"quantity": 1e3}'), event(data="null"),
        event(more=', "traceparent": "00-1"'), event(id_="\u00fc"),
    ],
)  # fmt: skip
def test_what_only_the_slow_way_reads_is_read(other: str) -> None:
    assert usage._read_plain(f"[{event()},{other}]".encode()) is None
    events_read = read(event(id_="u0"), other)
    assert [type(each) for each in events_read] == [UsageEvent] * 2
    assert events_read[0].time == events_read[1].time


@pytest.mark.parametrize(
    "broken",
    [
        event().replace('"1.0"', '"0.3"'), event().replace('"specversion": "1.0", ', ""), event(id_=""),
        event().replace("/product", "/pro duct"), event().replace(' "time": "2026-03-01T12:00:00Z",', ""),
        event().replace("12:00:00Z", "12:00:00"), "7", "null",
    ],
)  # fmt: skip
def test_an_unreadable_event_is_reported_at_its_place(broken: str) -> None:
    events_read = read(event(id_="u0"), broken)
    assert [type(each) for each in events_read] == [UsageEvent, str]


def test_the_bytes_of_each_event_stay_as_received() -> None:
    texts = [event(id_="u0"), event(id_="u1", data='{ "quantity" :  1.50 }')]
    assert read_batch(f"[ {texts[0]} ,\n{texts[1]}]".encode(), BATCH)[1] == [text.encode() for text in texts]


def test_same_content_is_a_matter_of_values() -> None:
    one = json.dumps({"a": 1, "b": {"c": "x"}}).encode()
    assert same_content(one, json.dumps({"b": {"c": "x"}, "a": 1}, indent=2).encode())
    assert not same_content(one, json.dumps({"a": 2, "b": {"c": "x"}}).encode())


def test_an_empty_subject_is_refused_as_in_every_cloud_event() -> None:
    (refused,) = read(event(more=', "subject": ""'))
    assert isinstance(refused, str)
    assert "subject must not be empty" in refused


def test_the_legal_entity_of_usage_is_read_in_its_plain_form_and_in_any_other() -> None:
    event = (
        b'{"specversion": "1.0", "id": "u1", "source": "/product", "type": "usage.recorded.v1",'
        b' "time": "2026-03-01T00:00:00Z", "legalentity": "acme-de", "data": {"a": 1}%s}'
    )
    for more in (b"", b', "other": 1'):
        (read,), _ = read_batch(b"[" + event % more + b"]", BATCH)
        assert isinstance(read, UsageEvent)
        assert read.legalentity == "acme-de"
    (plain,) = usage._read_plain(b"[" + event % b"" + b"]")
    assert plain.legalentity == "acme-de"
