"""Bodies of requests and responses: whether they are there, their media types, and their schemas by direction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from counterfoil.contracts.openapi import parameters
from counterfoil.contracts.openapi.document import escape, keyed
from counterfoil.contracts.openapi.rules import Side
from counterfoil.contracts.openapi.schema import Place

if TYPE_CHECKING:
    from counterfoil.contracts.openapi.comparison import Comparison

_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


def request(comparison: Comparison, old: Any, new: Any, where: str, side: Side) -> None:
    """Tell what changes in the body of a call."""
    if old is None and new is None:
        return
    where = f"{where} /requestBody"
    add = comparison.findings.add
    if old is None:
        needed = comparison.new.follow(new).get("required") is True
        if side == "response":
            add("response-body-added", where, "a body is sent now")
        elif needed:
            add("required-request-body-added", where, "a body must be sent now")
        else:
            add("request-body-added", where, "a body may be sent now")
    elif new is None:
        add(f"{side}-body-removed", where, "the body is gone")
    elif not comparison.told(old, new):
        body(comparison, comparison.old.follow(old), comparison.new.follow(new), where, side)


def body(comparison: Comparison, old: dict[str, Any], new: dict[str, Any], where: str, side: Side) -> None:
    """Tell what changes in one body."""
    before, after = old.get("required") is True, new.get("required") is True
    if before != after:
        word = "required" if after else "optional"
        comparison.findings.add(
            f"{side}-body-became-{word}",
            where,
            f"the body {'must be there' if after else 'may be missing'} now",
        )
    comparison.media_types(old.get("content"), new.get("content"), where, side)


def media_types(comparison: Comparison, old: Any, new: Any, where: str, side: Side) -> None:
    """Tell what changes in the media types of a body or a parameter, and in their schemas."""
    before = {_plain(str(name)): node for name, node in comparison.mapping(old, where).items()}
    after = {_plain(str(name)): node for name, node in comparison.mapping(new, where).items()}
    matched = set()
    for name, node in before.items():
        other = _covering(name, after)
        if other is not None:
            matched.add(other)
            _media_type(comparison, node, after[other], f"{where}/content/{escape(other)}", name, side)
        elif side == "request" or not _inside(name, after):
            comparison.findings.add(
                f"{side}-media-type-removed", f"{where}/content/{escape(name)}", f"{name} is gone"
            )
    for name, node in after.items():
        if name in matched:
            continue
        wider = _covering(name, before)
        if wider is not None and side == "response":
            _media_type(comparison, before[wider], node, f"{where}/content/{escape(name)}", name, side)
        else:
            comparison.findings.add(
                f"{side}-media-type-added", f"{where}/content/{escape(name)}", f"{name} is new"
            )


def _plain(name: str) -> str:
    """A media type without its character set, which JSON and forms do not have."""
    kind, _, rest = name.lower().partition(";")
    kept = [
        part.strip() for part in rest.split(";") if part.strip() and not part.strip().startswith("charset")
    ]
    return ";".join([kind.strip(), *kept])


def _covering(name: str, ranges: dict[str, Any]) -> str | None:
    kind = name.split("/")[0]
    for candidate in (name, name.split(";")[0], f"{kind}/*", "*/*"):
        if candidate in ranges:
            return candidate
    return None


def _inside(name: str, others: dict[str, Any]) -> bool:
    """Whether another media type falls under this one, so that fewer are delivered."""
    if name == "*/*":
        return bool(others)
    return name.endswith("/*") and any(other.startswith(name[:-1]) for other in others)


def _media_type(comparison: Comparison, old: Any, new: Any, where: str, name: str, side: Side) -> None:
    old, new = old if isinstance(old, dict) else {}, new if isinstance(new, dict) else {}
    if old == new and not comparison.thorough:
        return
    form = name.split(";")[0] in _FORMS
    fields = comparison.fields_sent if side == "request" else comparison.fields_read
    place = Place(where=f"{where}/schema", side=side, form=form, fields=fields)
    comparison.schemas.compare(old.get("schema", True), new.get("schema", True), place)
    before, after = keyed(old.get("encoding")), keyed(new.get("encoding"))
    if any(before[name] != after[name] for name in before if name in after):
        # A field that comes or goes brings or takes its encoding with it.
        comparison.findings.add(f"{side}-encoding-changed", where, "parts of the body are encoded otherwise")


def responses(comparison: Comparison, old: Any, new: Any, where: str, side: Side) -> None:
    """Tell what changes in the answers to a call. For a call that the service makes, clients give the answers, so
    `side` is `request` there."""
    before = {str(name): node for name, node in comparison.mapping(old, where).items()}
    after = {str(name): node for name, node in comparison.mapping(new, where).items()}
    for status, node in before.items():
        if status.startswith("x-"):
            continue
        there = f"{where} /responses/{status}"
        known = _status(status, after)
        if known is None:
            kind = "success" if status.startswith("2") else "other"
            if side == "response":
                comparison.findings.add(
                    f"response-{kind}-status-removed", there, f"status {status} is not answered any more"
                )
        elif not comparison.told(node, after[known]):
            response(
                comparison, comparison.old.follow(node), comparison.new.follow(after[known]), there, side
            )
    for status in after:
        if not status.startswith("x-") and _status(status, before) is None and side == "response":
            kind = "success" if status.startswith("2") else "other"
            comparison.findings.add(
                f"response-{kind}-status-added", f"{where} /responses/{status}", f"status {status} is new"
            )


def _status(status: str, known: dict[str, Any]) -> str | None:
    """The answer that a status falls under: itself or its range, but not the answer to everything else."""
    for candidate in (status, f"{status[:1]}XX", f"{status[:1]}xx"):
        if candidate in known:
            return candidate
    return None


def response(
    comparison: Comparison, old: dict[str, Any], new: dict[str, Any], where: str, side: Side
) -> None:
    """Tell what changes in one answer."""
    if old == new and not comparison.thorough:
        return
    if side == "response":
        parameters.headers(comparison, old.get("headers"), new.get("headers"), where)
    before, after = old.get("content"), new.get("content")
    if before and not after:
        if side == "response":
            comparison.findings.add("response-body-removed", where, "no body is delivered any more")
        return
    if after and not before:
        if side == "response":
            comparison.findings.add("response-body-added", where, "a body is delivered now")
        return
    comparison.media_types(before, after, where, side)
