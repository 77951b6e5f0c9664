"""Patterns: one document's form with parameters, and the documents that use it.

    kind: pattern
    name: post-and-match
    parameters: {operation: what posts it, wait: {default: +2d}}
    body:
      kind: workflow
      steps: [{call: "${operation}"}, {wait: {foils: all, until: "${wait}"}}]
    ---
    kind: workflow
    name: credit-post
    pattern: {name: post-and-match, with: {operation: erp.credit.post}}

A user's own keys stand in place of the pattern's. What comes from a pattern is told at the user's line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from counterfoil.core.finding import Finding
from counterfoil.model.source import Path, Source

_PARAMETER = re.compile(r"\$\{([a-z][a-z0-9_]*)\}")
_AT: Path = ("pattern",)


def expand(sources: list[Source]) -> list[Finding]:
    """Puts the pattern's body, with its parameters given, into each document that uses one."""
    patterns = {
        source.data["name"]: source.data
        for source in sources
        if isinstance(source.data, dict)
        and source.data.get("kind") == "pattern"
        and isinstance(source.data.get("name"), str)
        and isinstance(source.data.get("body"), dict)
        and not source.broken
    }
    findings: list[Finding] = []
    for source in sources:
        data = source.data
        if isinstance(data, dict) and "pattern" in data and data.get("kind") != "pattern":
            findings += _expand(source, data, patterns)
    return findings


def _expand(source: Source, data: dict[str, Any], patterns: Mapping[str, Any]) -> list[Finding]:
    use = data["pattern"]
    source.lost = True  # until it is whole
    if not isinstance(use, dict) or not use.keys() <= {"name", "with"} or "name" not in use:
        return [source.finding("pattern", "expected {name: ..., with: {...}}", _AT)]
    given = use.get("with", {})
    pattern = patterns.get(use["name"]) if isinstance(use["name"], str) else None
    if pattern is None or not isinstance(given, dict):
        near = get_close_matches(str(use["name"]), patterns, 1)
        fix = f"did you mean `{near[0]}`?" if near else "add a document of kind pattern"
        return [source.finding("pattern", f"there is no pattern `{use['name']}`", (*_AT, "name"), fix=fix)]
    body, parameters = pattern["body"], pattern.get("parameters", {})
    findings = [
        source.finding("pattern", f"the pattern has no parameter `{name}`", (*_AT, "with", name), at_key=True)
        for name in given
        if name not in parameters
    ]
    values = dict(given)
    for name, about in parameters.items():
        if name not in values:
            if isinstance(about, dict) and "default" in about:
                values[name] = about["default"]
            else:
                findings.append(
                    source.finding("pattern", f"the parameter `{name}` is not given", _AT, at_key=True)
                )
    unknown = sorted(set(_named(body)) - set(parameters))
    if unknown:
        findings.append(
            source.finding("pattern", f"the pattern reads `{unknown[0]}`, which is no parameter", _AT)
        )
    if body.get("kind") != data.get("kind"):
        message = f"the pattern makes a {body.get('kind')}, not a {data.get('kind')}"
        findings.append(source.finding("pattern", message, ("kind",)))
    if not findings:
        own = {key: value for key, value in data.items() if key != "pattern"}
        source.data = {**_filled(body, values), **own}
        source.marks[()] = source.keys[_AT]  # what is not written here comes from there
        source.lost = False
    return findings


def _named(value: Any) -> list[str]:
    if isinstance(value, str):
        return _PARAMETER.findall(value)
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [name for part in parts for name in _named(part)]


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    """The value with its parameters in place: a text that is one parameter becomes the parameter's value."""
    if isinstance(value, dict):
        return {key: _filled(part, values) for key, part in value.items()}
    if isinstance(value, list):
        return [_filled(part, values) for part in value]
    if not isinstance(value, str):
        return value
    whole = _PARAMETER.fullmatch(value)
    if whole:
        return values[whole[1]]
    return _PARAMETER.sub(lambda match: str(values[match[1]]), value)
