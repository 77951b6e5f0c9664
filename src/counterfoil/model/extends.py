"""Documents that extend a document of the canonical library: `extends: customer@1` of an object, event or operation.

The fields of the library come first. The document may add fields, or state one of the library again to require it, or to
set its `system`, `final`, `pii`, `negative` or `doc`. The columns that Counterfoil keeps with every record are not taken
over; one that is stated again keeps its type. The result is the whole document: a stored Release needs no library.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

from counterfoil.canon.library import PARTS, CanonicalDocument, library
from counterfoil.core.finding import Finding, did_you_mean
from counterfoil.model.fields import TYPES
from counterfoil.model.source import Graft, Path, Source

RULE = "extends"
_LIST = "run `counterfoil canon list`"
_WHOLE = ("doc", "negative")
"""Keys, apart from fields, that a document takes over from the library unless it has them."""


def extend(sources: list[Source]) -> list[Finding]:
    """Add the fields of the library to each document that extends one of its documents."""
    findings: list[Finding] = []
    for source in sources:
        data = source.data
        if isinstance(data, dict) and not source.lost and "extends" in data and data.get("kind") in PARTS:
            _Extension(source, findings).apply(data)
    return findings


class _Extension:
    """One document that extends the library."""

    def __init__(self, source: Source, findings: list[Finding]) -> None:
        self.source = source
        self.written = replace(source)
        """The source as written: places of the document's own parts."""
        self.findings = findings
        self.grafts: dict[Path, Graft] = {}
        self.reference = ""

    def apply(self, data: dict[str, Any]) -> None:
        canonical = self._canonical(data["kind"], data["extends"])
        if canonical is None:
            self.source.lost = True  # without its fields, every formula that reads them would be reported
            return
        self.reference = canonical.reference
        whole = {key: getattr(canonical, key) for key in _WHOLE}
        merged = {**{key: value for key, value in whole.items() if value is not None}, **data}
        for part, fields in canonical.parts.items():
            own = data.get(part, {})
            if isinstance(own, dict):  # reading reports any other form
                of_library = {**_restated(canonical.columns, own), **fields}
                merged[part] = self._fields(deepcopy(of_library), own, (part,))
        self.source.data = merged
        self.source.grafts = {**self.source.grafts, **self.grafts}

    def _report(self, message: str, path: Path, fix: str, *, at_key: bool = False) -> None:
        self.findings.append(self.written.finding(RULE, message, path, at_key=at_key, fix=fix))

    def _canonical(self, kind: str, reference: Any) -> CanonicalDocument | None:
        """Return the document of the library; None with a finding if there is none."""
        canonical = library().document(kind, reference) if isinstance(reference, str) else None
        if canonical is not None:
            return canonical
        name, _, version = str(reference).partition("@")
        versions = [other for other in library().named(name) if other.kind == kind]
        if versions:
            existing = ", ".join(other.reference for other in versions)
            what = f"has no version {version}" if version else "is named with its version"
            self._report(f"the canonical {kind} `{name}` {what}", ("extends",), f"use one of: {existing}")
        else:
            fix = did_you_mean(str(reference), library().references(kind), _LIST)
            self._report(f"the canonical library has no {kind} `{reference}`", ("extends",), fix)
        return None

    # -------------------------------------------------------------- fields

    def _fields(self, canonical: dict[str, Any], own: dict[str, Any], path: Path) -> dict[str, Any]:
        """Return the fields of the library, each as the document states it again, and then the document's own."""
        written = {str(key).removesuffix("?"): key for key in own}
        fields: dict[str, Any] = {}
        for key, spec in canonical.items():
            restated = written.get(key.removesuffix("?"))
            if restated is None:
                fields[key] = spec
                self.grafts[(*path, key)] = Graft(self.written, ("extends",))
                continue
            at = (*path, restated)
            if restated == f"{key}?":
                message = f"`{key}` is required by {self.reference} and cannot be optional"
                self._report(message, at, f"name it `{key}`", at_key=True)
            fields[restated] = self._field(spec, own[restated], at)
        return {**fields, **{key: spec for key, spec in own.items() if key not in fields}}

    def _field(self, canonical: Any, own: Any, path: Path) -> Any:
        """Return a field of the library with what the document states of it."""
        base, more = _in_full(canonical), _in_full(own)
        if more is None:
            return own  # reading reports its form
        assert base is not None
        if more["type"] != base["type"]:
            message = f"`{_name(path)}` has the type {base['type']} in {self.reference}, not {more['type']}"
            self._report(message, path, "use its type, or another name for a field of your own")
            return canonical
        merged = {**base, **more}
        if "items" in base and "items" in more:
            merged["items"] = self._field(base["items"], more["items"], _items_path(own, path))
        if isinstance(base.get("fields"), dict) and isinstance(more.get("fields"), dict):
            merged["fields"] = self._fields(base["fields"], more["fields"], (*path, "fields"))
        if isinstance(more.get("enum"), list) and "enum" in base:
            further = [value for value in more["enum"] if value not in base["enum"]]
            if further:
                message = f"`{further[0]}` is no value of `{_name(path)}` in {self.reference}"
                self._report(message, (*path, "enum"), f"use: {', '.join(base['enum'])}")
        if base.get("pii") and more.get("pii") is False:
            message = f"`{_name(path)}` is personal data in {self.reference}"
            self._report(message, (*path, "pii"), "remove `pii: false`")
        return merged["type"] if merged.keys() == {"type"} else merged


def _restated(columns: Mapping[str, Any], own: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the columns that a document declares as fields: the others are kept by Counterfoil and not taken over."""
    names = {str(key).removesuffix("?") for key in own}
    return {key: spec for key, spec in columns.items() if key.removesuffix("?") in names}


def _in_full(spec: Any) -> dict[str, Any] | None:
    """Return the full form of a field, with a type and the items of a list in `items`; None for another form."""
    if isinstance(spec, list):
        return {"type": "list", "items": spec[0]} if len(spec) == 1 else None
    full = {"type": spec} if isinstance(spec, str) else dict(spec) if isinstance(spec, dict) else {}
    if not full:
        return None
    kind: Any = full.setdefault(
        "type", "string" if "enum" in full else "list" if "items" in full else "object"
    )
    if isinstance(kind, str) and kind.startswith("["):
        full |= {"type": "list", "items": kind[1:-1]}
    elif not isinstance(kind, str) or kind not in TYPES:
        return None
    elif kind == "list" and "fields" in full:
        full["items"] = {"fields": full.pop("fields")}
    return full


def _items_path(own: Any, path: Path) -> Path:
    """Return the place of the items of a list as the document writes them."""
    if isinstance(own, list):
        return (*path, 0)
    return (*path, "items") if isinstance(own, dict) and "items" in own else path


def _name(path: Path) -> str:
    """Return the field that a path leads to."""
    return next(str(part).removesuffix("?") for part in reversed(path) if part not in ("items", 0))
