"""How values look on pages: money, times with a hint of how long ago, states as chips."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
from markupsafe import Markup, escape

from counterfoil.web.api.shapes import FINANCE_WORDS, Amount

_TONES = {
    "good": "matched confirmed done granted resolved",
    "bad": "broken refused rejected over expired",
    "warn": "open partly unknown accepted stale sending planned provisional waiting ready",
    "idle": "void dropped undone closed waived reversed absent forward",
    "move": "undo",
}
_TONE_OF = {word: tone for tone, words in _TONES.items() for word in words.split()}
_STEPS = ((60, "s", 1), (3600, "min", 60), (172_800, "h", 3600), (10**12, "d", 86_400))


def money(amount: Amount | None) -> Markup:
    """Digits in groups and the currency, for a right-aligned cell."""
    if amount is None:
        return Markup('<span class="muted">no amount</span>')
    return Markup('<span class="money">{}\u00a0<abbr>{}</abbr></span>').format(
        f"{Decimal(amount.amount):,f}", amount.currency
    )


def moneys(amounts: Iterable[Amount]) -> Markup:
    shown = [money(amount) for amount in amounts if amount.minor]
    return Markup("<br>").join(shown) if shown else Markup('<span class="muted" aria-label="none">–</span>')


def ago(moment: datetime, now: datetime) -> str:
    """`3 min ago` or `in 2 h`, rounded down."""
    seconds = (now - moment).total_seconds()
    for limit, unit, size in _STEPS:
        if abs(seconds) < limit:
            count = int(abs(seconds) // size)
            return f"{count} {unit} ago" if seconds >= 0 else f"in {count} {unit}"
    return ""


def when(moment: datetime | None, now: datetime, exact: bool = False) -> Markup:
    """UTC to the minute (`exact`: to the millisecond), with a hint of how far away it is."""
    if moment is None:
        return Markup('<span class="muted">–</span>')
    utc = moment.astimezone(UTC)
    text = (
        utc.strftime("%Y-%m-%d %H:%M:%S.") + f"{utc.microsecond // 1000:03d}"
        if exact
        else utc.strftime("%Y-%m-%d %H:%M")
    )
    return Markup(
        '<time datetime="{}" title="{} UTC">{}\u00a0UTC</time> <span class="hint ago">{}</span>'
    ).format(utc.isoformat(), utc.strftime("%Y-%m-%d %H:%M:%S"), text, ago(moment, now))


def clock(moment: datetime) -> Markup:
    """Time of day to the millisecond, for timelines under a date."""
    utc = moment.astimezone(UTC)
    text = utc.strftime("%H:%M:%S.") + f"{utc.microsecond // 1000:03d}"
    return Markup('<time datetime="{}">{}</time>').format(utc.isoformat(), text)


def chip(word: str, finance: bool = False) -> Markup:
    """A state with its tone; the tone is never all there is, the word is always there."""
    if not word:
        return Markup("")
    beside = FINANCE_WORDS.get(word, "") if finance else ""
    extra = (
        Markup(' <span class="finance">{}</span>').format(beside) if beside and beside != word else Markup("")
    )
    return Markup('<span class="chip {}">{}</span>{}').format(_TONE_OF.get(word, "idle"), said(word), extra)


def said(word: str) -> str:
    """A stable word as people read it."""
    return word.replace("_", " ").replace("-", " ")


def short(id_: str) -> Markup:
    """An id's beginning, all of it on demand."""
    if len(id_) <= 16:
        return Markup("<code>{}</code>").format(id_)
    return Markup('<code title="{}">{}…</code>').format(id_, id_[:13])


def raw(value: Any) -> str:
    """A value as indented JSON, for the details."""
    return json.dumps(json.loads(msgspec.json.encode(value)), indent=2, ensure_ascii=False)


def pairs(value: Any) -> Markup:
    """What an approval covers, or an input, as a list of names and values."""
    if not isinstance(value, dict):
        return escape(value)
    rows = Markup("").join(
        Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(said(str(key).rpartition(".")[2]), _value(part))
        for key, part in value.items()
    )
    return Markup('<dl class="pairs">{}</dl>').format(rows)


def _value(part: Any) -> Markup:
    if isinstance(part, Amount):
        return money(part)
    if isinstance(part, dict):
        return pairs(part)
    if isinstance(part, list):
        return Markup("<br>").join(_value(one) for one in part)
    return escape("–" if part is None else part)


def moment(value: datetime | str) -> datetime:
    """A time that may come as ISO text."""
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


FILTERS = {
    "money": money, "moneys": moneys, "clock": clock, "chip": chip, "said": said, "moment": moment, "short": short,
    "raw": raw, "pairs": pairs,
}  # fmt: skip
