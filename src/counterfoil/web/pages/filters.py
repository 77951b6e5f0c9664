"""Template filters: money, times with their distance from now, states as chips."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any

import msgspec
from markupsafe import Markup, escape

from counterfoil.core.case import Choice
from counterfoil.core.case_choices import asks_again, choice_effect
from counterfoil.core.case_reasons import reason_row
from counterfoil.core.search_words import folded, search_words
from counterfoil.web.api.case_words import grouped
from counterfoil.web.api.match_words import leg_words, system_title
from counterfoil.web.api.shapes import Amount, CaseShape
from counterfoil.web.api.state_words import FINANCE_WORDS

_WORDS = re.compile(r"([^\W_]+)")
_CHECKPOINT_ID = re.compile(r"\bbcp_[0-9a-z]+\b")
_TONES = {
    "good": "matched confirmed done granted resolved signed",
    "bad": "broken refused rejected over expired unmatched",
    "warn": "open partly unknown accepted stale sending planned provisional waiting ready",
    "idle": "void dropped undone closed waived reversed absent forward",
    "move": "undo",
}
_TONE_OF = {word: tone for tone, words in _TONES.items() for word in words.split()}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UTC_TIME = re.compile(
    r"\b(\d{4}-(?:0\d|1[0-2])-(?:[0-2]\d|3[01])) ((?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d)?) UTC\b", re.ASCII
)
_ID = re.compile(r"[a-z][a-z0-9-]{0,7}_[0-9a-z]{20,}|[0-9a-f]{40,64}", re.ASCII)
"""An id of ours, or a digest."""
_STEPS = ((60, "s", 1), (3600, "min", 60), (172_800, "h", 3600), (10**12, "d", 86_400))


def money(amount: Amount | str | None) -> Markup:
    """Return grouped digits and the currency, for a right-aligned cell."""
    if amount is None:
        return Markup('<span class="muted">no amount</span>')
    if isinstance(amount, str):
        return Markup('<span class="money">{}</span>').format(amount)
    return Markup('<span class="money">{}\u00a0<abbr>{}</abbr></span>').format(
        f"{Decimal(amount.amount):,f}", amount.currency
    )


def figure(amount: Amount | None, negate: bool = False) -> str:
    """Return an amount of a statement without its currency, which the column names; in parentheses if it is negative."""
    if amount is None:
        return "–"
    value = -Decimal(amount.amount) if negate else Decimal(amount.amount)
    return f"({-value:,f})" if value < 0 else f"{abs(value):,f}"


def checkpoint_id(text: str) -> str:
    """Return the id of a checkpoint that a text names; empty if it names none."""
    named = _CHECKPOINT_ID.search(text)
    return named[0] if named else ""


def moneys(amounts: Iterable[Amount]) -> Markup:
    parts = [money(amount) for amount in amounts if amount.minor]
    return Markup("<br>").join(parts) if parts else Markup('<span class="muted" aria-label="none">–</span>')


def sums(amounts: Iterable[Amount]) -> str:
    """Return amounts as plain text for a sentence; empty without one."""
    return ", ".join(f"{Decimal(a.amount):,f} {a.currency}" for a in amounts if a.minor)


def choice_effects(case: CaseShape) -> list[tuple[str, str]]:
    """Return the choices of a Case with what each does in money; first those that give nothing away."""
    choices = sorted(map(Choice, case.choices), key=lambda c: asks_again(c, bool(case.exposure)))
    return [(str(choice), choice_effect(choice, sums(case.exposure), case.confirmed)) for choice in choices]


def ago(moment: datetime, now: datetime) -> str:
    """Return `3 min ago` or `in 2 h`, rounded down."""
    seconds = (now - moment).total_seconds()
    for limit, unit, size in _STEPS:
        if abs(seconds) < limit:
            count = int(abs(seconds) // size)
            return f"{count} {unit} ago" if seconds >= 0 else f"in {count} {unit}"
    return ""


def when(moment: datetime | None, now: datetime, exact: bool = False, zone: tzinfo = UTC) -> Markup:
    """Return a time of a zone to the minute (`exact`: to the millisecond), with the distance from now, and UTC on hover."""
    if moment is None:
        return Markup('<span class="muted">–</span>')
    local = moment.astimezone(zone)
    time = milliseconds(local) if exact else f"{local:%H:%M}"
    text = f"{day(local, zone, year=exact or local.year != now.astimezone(zone).year)}, {time}"
    return Markup('{} <span class="hint ago">{}</span>').format(_time(moment, text), ago(moment, now))


def day(moment: datetime, zone: tzinfo = UTC, year: bool = True) -> str:
    """Return the day of a time in a zone: `Thu 3 Dec 2026`."""
    local = moment.astimezone(zone)
    return f"{_DAYS[local.weekday()]} {local.day} {_MONTHS[local.month - 1]}" + (
        f" {local.year}" if year else ""
    )


def milliseconds(local: datetime) -> str:
    return f"{local:%H:%M:%S}.{local.microsecond // 1000:03d}"


def _time(moment: datetime, text: str) -> Markup:
    utc = moment.astimezone(UTC)
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        utc.isoformat(), utc.strftime("%Y-%m-%d %H:%M:%S"), text
    )


def local_times(text: str, zone: tzinfo) -> Markup:
    """Return a sentence with its times, which are UTC to the minute or second, in a zone, and its amounts grouped."""
    text = grouped(text)
    parts, end = [], 0
    for match in _UTC_TIME.finditer(text):
        moment = datetime.fromisoformat(f"{match[1]}T{match[2]}").replace(tzinfo=UTC)
        local = moment.astimezone(zone)
        parts += [escape(text[end : match.start()]), _time(moment, f"{day(local, zone)}, {local:%H:%M}")]
        end = match.end()
    return Markup("").join([*parts, escape(text[end:])])


def age(seconds: int) -> str:
    """Return an age such as `26 h` or `3 d`, rounded down."""
    for limit, unit, size in _STEPS:
        if seconds < limit:
            return f"{seconds // size}\u00a0{unit}"
    return ""


def clock(moment: datetime, zone: tzinfo = UTC) -> Markup:
    """Return the time of day to the millisecond, for timelines under a date."""
    return _time(moment, milliseconds(moment.astimezone(zone)))


def chip(word: str, finance: bool = False) -> Markup:
    """Return a state as a coloured chip. The word is always there: color alone carries no meaning."""
    if not word:
        return Markup("")
    term = FINANCE_WORDS.get(word, "") if finance else ""
    extra = Markup(' <span class="finance">{}</span>').format(term) if term and term != word else Markup("")
    return Markup('<span class="chip {}">{}</span>{}').format(tone_of(word), words(word), extra)


def tone_of(word: str) -> str:
    """Return the class of the colour of a state: good, bad, warn, idle or move."""
    return _TONE_OF.get(word, "idle")


def words(identifier: str) -> str:
    """Return an identifier as words: `foil_broken` becomes `foil broken`."""
    return identifier.replace("_", " ").replace("-", " ")


def short(id_: str) -> Markup:
    """Return the beginning of an id, with the whole id as its title."""
    if len(id_) <= 16:
        return Markup("<code>{}</code>").format(id_)
    return Markup('<code title="{}">{}…</code>').format(id_, id_[:13])


def raw(value: Any) -> str:
    """Return a value as indented JSON."""
    return json.dumps(json.loads(msgspec.json.encode(value)), indent=2, ensure_ascii=False)


def without_ids(value: Any) -> Any:
    """Return a record without its ids: they say nothing to the person who decides, and `only_ids` has them."""
    return (
        {key: part for key, part in value.items() if not _is_id(part)} if isinstance(value, dict) else value
    )


def only_ids(value: Any) -> dict[str, Any]:
    return {key: part for key, part in value.items() if _is_id(part)} if isinstance(value, dict) else {}


def _is_id(part: Any) -> bool:
    return isinstance(part, str) and _ID.fullmatch(part) is not None


def pairs(value: Any) -> Markup:
    """Return a record as a list of names and values."""
    if not isinstance(value, dict):
        return escape(value)
    rows = Markup("").join(
        Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(words(str(key).rpartition(".")[2]), _value(part))
        for key, part in value.items()
    )
    return Markup('<dl class="pairs">{}</dl>').format(rows)


def _value(part: Any) -> Markup:
    if isinstance(part, Amount):
        return money(part)
    if isinstance(part, dict):
        return pairs(part)
    if isinstance(part, list):
        return Markup("<br>").join(_value(item) for item in part)
    return escape("–" if part is None else part)


def reason_title(reason: str) -> str:
    """Return the plain title of a Case reason from the catalogue."""
    return reason_row(reason).title


def marked(text: str, query: str) -> Markup:
    """Return a text in which the words that begin with a word of the query are marked."""
    parts = tuple(search_words(query))
    return Markup("").join(
        Markup("<mark>{}</mark>").format(word) if parts and folded(word).startswith(parts) else escape(word)
        for word in _WORDS.split(str(text))
    )


def moment(value: datetime | str) -> datetime:
    """Return a time that may come as ISO text."""
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


FILTERS = {
    "money": money, "moneys": moneys, "chip": chip, "words": words, "leg": leg_words, "reason_title": reason_title, "moment": moment, "short": short,
    "raw": raw, "choice_effects": choice_effects, "without_ids": without_ids, "only_ids": only_ids, "pairs": pairs, "age": age,
    "system": system_title, "grouped": grouped, "sums": sums, "figure": figure, "marked": marked, "checkpoint_id": checkpoint_id,
}  # fmt: skip
