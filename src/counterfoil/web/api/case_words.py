"""Cases in plain finance words: what happened, without the raw text of a system or a library.

The raw text stays in the Case's message, for those who correct the cause.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from counterfoil.core.case import Case
from counterfoil.core.case_reasons import reason_row
from counterfoil.core.money import EXPONENTS
from counterfoil.web.api.match_words import system_title

_CALLS = {
    "transient": "{system} did not {act} for a technical reason, and the retries are used up.",
    "throttled": "{system} did not {act}: it limits the number of calls, and the retries are used up.",
    "conflict": "{system} did not {act}: another change of the same record was in progress.",
    "invalid": "{system} did not {act}: a value or a record is invalid.",
    "warning": "{system} did not {act}: it gave a warning that needs a decision.",
    "period_closed": "{system} did not {act}: the accounting period is closed.",
    "not_found": "{system} did not {act}: a record or Link that the call needs does not exist.",
    "unauthorized": "{system} refused to {act}: it does not accept our credentials or permissions.",
    "already_done": "{system} did not {act}: it reports that the same was done before.",
    "refused": "{system} refused to {act} by its own rules.",
    "unknown": "{system} gave no answer when it was asked to {act}. It may or may not have been done.",
    "accepted": "{system} accepted the request to {act}, but has not finished it.",
    "absent": "{system} was not reached when it was asked to {act}, and the retries are used up.",
}
"""Sentence for a call that a Case is about, by the reason."""
_FOREIGN = frozenset(
    {"mapping_failed", "cast_failed", "routing_failed", "fetch_refused", "result_unreadable", "unreachable"}
)
"""Reasons whose message ends in the text of a system or a library."""
_OPERATION = re.compile(r"\b[a-z][a-z0-9_-]*(?:\.[a-z][a-z0-9_-]*)+\.[a-z][a-z0-9_-]*\b", re.ASCII)
_DELIVERY = re.compile(r"\A\S+: ")
"""Id of the delivery or event before the text about it."""
_REFUSAL = re.compile(r": [a-z_]+: [a-z][a-z0-9_]*: ([^<>{}\[\]=\\\n]{1,200})\Z")
"""The end of a message about a refused call: class, code, and the words of the system or its connector. A code says that the
connector understood the refusal; other texts may come from a library."""
_AMOUNT = re.compile(rf"(?<!\w-)(?<![\w.,])(\d{{4,19}})(\.\d+)?(?= (?:{'|'.join(EXPONENTS)})\b)", re.ASCII)


def grouped(text: str) -> str:
    """Return a text with thousands separators in its amounts: `27,062.50 USD`."""
    return _AMOUNT.sub(lambda match: f"{int(match[1]):,}{match[2] or ''}", text)


def with_names(text: str, names: Mapping[str, str]) -> str:
    """Return a text in which known ids are replaced by the names of their objects, and amounts are grouped."""
    for id_, name in names.items():
        text = text.replace(id_, name)
    return grouped(text)


def explain_case(case: Case, names: Mapping[str, str]) -> str:
    """Return what happened as a sentence. `names` are those of the objects whose ids stand in the message."""
    title = reason_row(case.reason).title
    call = _OPERATION.search(case.message)
    if case.reason in _CALLS and call is not None:
        sentence = _CALLS[case.reason].format(
            system=system_title(call[0].partition(".")[0]), act=_act(call[0])
        )
        refusal = _REFUSAL.search(case.message)
        if refusal is None:
            return sentence
        return _sentence(f"{sentence.removesuffix('.').partition(':')[0]}: {with_names(refusal[1], names)}")
    own = _own_text(case)
    if own is None:
        system = case.message.partition(":")[0] if case.reason == "unreachable" else ""
        return f"{system_title(system)} or its connector cannot be reached." if system else f"{title}."
    return _sentence(with_names(own, names))


def _own_text(case: Case) -> str | None:
    """Return the part of a message that Counterfoil wrote for people; None if it is the text of others.

    The message about a delivery is `ID: TEXT`; that about a step is `STEP: OUTCOME: TEXT`. Our texts are sentences; the fault of a formula begins in lower case.
    """
    if case.reason in _FOREIGN or case.reason.startswith("undo_"):
        return None
    step, separator, text = case.message.partition(f": {case.reason}")
    if case.receipt is not None or case.event is not None:
        return _DELIVERY.sub("", case.message)
    if not separator or ":" in step:
        return None if case.reason == "invalid" else case.message
    text = text.removeprefix(":").strip()
    return text if text[:1].isupper() else None


def _act(operation: str) -> str:
    """Return what an operation does: `post the credit memo` for `erp.credit_memo.post`."""
    noun, verb = (part.replace("_", " ").replace("-", " ") for part in operation.split(".")[-2:])
    return f"{verb} the {noun}" if " " not in verb else f"carry out “{noun} {verb}”"


def _sentence(text: str) -> str:
    """Return a text with a capital letter and a full stop. A name such as `invoice.finalized.v1` keeps its letters."""
    if text.partition(" ")[0].isalpha():
        text = text[:1].upper() + text[1:]
    return text + ("" if text.endswith((".", "!", "?")) else ".")
