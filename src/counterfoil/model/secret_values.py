"""Secrets in plain text: files contain references only, and no finding shows a secret."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from counterfoil.core.finding import Finding
from counterfoil.model.source import Path, Source

_SECRET_KEY = re.compile(
    r"(?i)(^|_|-)(password|passwd|passphrase|secret|token|api_?key|private_?key|credentials?|access_?key)$"
)
_REFERENCE = re.compile(r"env:[A-Z][A-Z0-9_]*|file:\S+")
_USER_IN_URL = re.compile(r"^[a-z][a-z0-9+.-]*://([^/@\s]*:[^/@\s]+)@")
_SECRET_FORM = re.compile(
    r"[a-z]{2,6}_(live|test)_\w{4,}|whsec_[\w+/=]{6,}|eyJ[\w-]{8,}\.[\w-]{8,}\.|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
"""Texts that are a secret wherever they stand: keys with their kind in front, signed tokens, private keys."""
_SECRET_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
"""A key under `secrets` that is no such name may be the secret itself: YAML reads `{text}` as a key."""
_MIN_LENGTH = 4
_MIN_UNUSUAL_LENGTH = 8
_SHOWN_LENGTH = 56
"""Findings cut longer values."""
HIDDEN = "(not shown)"
_WITH_SYSTEM = ("system", "overlay", "pattern")
"""Kinds of documents in which a system stands."""
Place: TypeAlias = tuple[Path, str]


def secret_findings(source: Source) -> Iterator[Finding]:
    """Yield a finding for each value that looks like a secret: its key and place, never the value."""
    if not isinstance(source.data, dict):
        return
    for path, _ in _secrets(source.data):
        if _part_of_system(source.data, path)[:1] == ("secrets",):
            continue  # the form of the document reports it
        key = next((part for part in reversed(path) if isinstance(part, str)), "")
        fix = "write env:NAME or file:PATH under `secrets`, and change the secret"
        yield source.finding("secret-in-file", f"`{key}` contains a secret in plain text", path, fix=fix)


def without_secrets(findings: Sequence[Finding], sources: Iterable[Source]) -> list[Finding]:
    """Return the findings with every secret of the files replaced: a short one in the findings of its own line only."""
    if not findings:
        return []
    everywhere: set[str] = set()
    by_line: dict[tuple[str, int], set[str]] = {}
    for source in sources:
        for path, secret in _secrets(source.data):
            texts = {text for line in (secret, *secret.splitlines()) for text in _as_shown(line.strip())}
            file, mark = source.place(path)
            by_line.setdefault((file, mark.line), set()).update(t for t in texts if len(t) >= _MIN_LENGTH)
            everywhere |= {text for text in texts if len(text) >= _MIN_UNUSUAL_LENGTH}
    return [_redacted(f, everywhere | by_line.get((f.file, f.line), set())) for f in findings]


def _as_shown(text: str) -> set[str]:
    return {text, text[:_SHOWN_LENGTH]}


def _redacted(finding: Finding, secrets: set[str]) -> Finding:
    message, fix = finding.message, finding.fix
    for text in sorted(secrets, key=len, reverse=True):
        message, fix = message.replace(text, HIDDEN), fix.replace(text, HIDDEN)
    return replace(finding, message=message, fix=fix)


def _secrets(data: Any) -> Iterator[Place]:
    """Yield the place and the text of each secret in a document."""
    may_hold = isinstance(data, dict) and data.get("kind") in _WITH_SYSTEM
    if not may_hold and _SECRET_FORM.search("\n".join(_texts(data))) is None:
        return  # most documents
    for path, value in _scalars(data, ()):
        text = str(value)
        if not (may_hold or _SECRET_FORM.search(text)):
            continue  # most texts
        if not text or isinstance(value, bool) or _REFERENCE.fullmatch(text):
            continue
        inside = _part_of_system(data, path)
        key = next((part for part in reversed(path) if isinstance(part, str)), "")
        user = _USER_IN_URL.match(text)
        if user is not None and inside:
            yield path, text
            yield path, user[1].partition(":")[2]
        elif inside[:1] == ("secrets",) or (inside and _SECRET_KEY.search(key)) or _SECRET_FORM.search(text):
            yield path, text


def _texts(data: Any) -> Iterator[str]:
    """Yield each key and scalar of a document as text, in no order."""
    rest = [data]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            yield from map(str, value)
            rest.extend(value.values())
        elif isinstance(value, list):
            rest.extend(value)
        elif value is not None:
            yield str(value)


def _scalars(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            in_secrets = path[-1:] == ("secrets",) and _SECRET_NAME.fullmatch(str(key)) is None
            if isinstance(key, str) and (in_secrets or _SECRET_FORM.search(key)):
                yield (*path, key), key
            yield from _scalars(inner, (*path, key))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _scalars(inner, (*path, position))
    elif value is not None:
        yield path, value


def _part_of_system(data: Any, path: Path) -> Path:
    """Return the path below a system: of its own document, of a change in an overlay, or of a pattern's body."""
    if not isinstance(data, dict) or not path:
        return ()
    match data.get("kind"), path:
        case ("system", _):
            return path
        case ("overlay", ("changes", int(position), "set", *inner)):
            changes = data["changes"]
            of_system = isinstance(changes[position], dict) and changes[position].get("kind") == "system"
            return tuple(inner) if of_system else ()
        case ("pattern", ("body", *inner)):
            body = data["body"]
            return tuple(inner) if isinstance(body, dict) and body.get("kind") == "system" else ()
    return ()
