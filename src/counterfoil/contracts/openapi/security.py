"""Security requirements and security schemes: accepted credentials, how they are sent, and scopes."""

from __future__ import annotations

from typing import Any

from counterfoil.contracts.json_parts import Node, as_list, as_map, escape
from counterfoil.contracts.openapi.document import ApiDescription
from counterfoil.contracts.openapi.findings import Findings

_SCHEME_KEYS = ("type", "in", "name", "scheme", "bearerFormat", "openIdConnectUrl")
_URL_KEYS = ("authorizationUrl", "tokenUrl", "refreshUrl")


def requirements(findings: Findings, old: Any, new: Any, where: str) -> None:
    """Report which combinations of credentials are accepted no longer or newly.

    None and an empty list require no credential.
    """
    if old == new:
        return
    before, after = _combinations(old), _combinations(new)
    for combination in before:
        if not any(_is_weaker(other, combination) for other in after):
            text = _text(combination)
            findings.add("security-narrowed", where, f"{text} is not accepted any more", detail=text)
    for combination in after:
        if not any(_is_weaker(other, combination) for other in before):
            text = _text(combination)
            findings.add("security-widened", where, f"{text} is accepted now", detail=text)


def _combinations(requirements: Any) -> list[dict[str, frozenset[str]]]:
    combinations = [
        {str(name): frozenset(map(str, as_list(scopes))) for name, scopes in requirement.items()}
        for requirement in as_list(requirements)
        if isinstance(requirement, dict)
    ]
    return combinations or [{}]


def _is_weaker(first: dict[str, frozenset[str]], second: dict[str, frozenset[str]]) -> bool:
    return all(name in second and scopes <= second[name] for name, scopes in first.items())


def _text(combination: dict[str, frozenset[str]]) -> str:
    items = sorted(combination.items())
    parts = [name + (f" ({', '.join(sorted(scopes))})" if scopes else "") for name, scopes in items]
    return " with ".join(parts) or "no credential"


def schemes(findings: Findings, before: ApiDescription, after: ApiDescription) -> None:
    """Report changes of the security schemes."""
    old = before.section("components", "securitySchemes")
    new = after.section("components", "securitySchemes")
    for name in sorted({*map(str, old), *map(str, new)}):
        where = f"/components/securitySchemes/{escape(name)}"
        if name not in new:
            findings.add("security-scheme-removed", where, f"security scheme {name} was removed")
        elif name not in old:
            findings.add("security-scheme-added", where, f"security scheme {name} was added")
        elif old[name] != new[name]:
            _scheme(findings, before.follow(old[name]), after.follow(new[name]), where)


def _scheme(findings: Findings, old: Node, new: Node, where: str) -> None:
    _keys(findings, old, new, where, _SCHEME_KEYS)
    before, after = as_map(old.get("flows")), as_map(new.get("flows"))
    for flow in sorted({*map(str, before), *map(str, after)}):
        there = f"{where}/flows/{flow}"
        if flow not in after:
            findings.add("security-scheme-changed", there, f"flow {flow} was removed")
        elif flow in before:
            _flow(findings, as_map(before[flow]), as_map(after[flow]), there)


def _flow(findings: Findings, old: Node, new: Node, where: str) -> None:
    _keys(findings, old, new, where, _URL_KEYS)
    scopes = "availableScopes" if "availableScopes" in old else "scopes"
    before, after = as_map(old.get(scopes)), as_map(new.get(scopes))
    for scope in sorted({*map(str, before), *map(str, after)}):
        there = f"{where}/scopes/{escape(scope)}"
        if scope not in after:
            findings.add("security-scope-removed", there, f"scope {scope} was removed")
        elif scope not in before:
            findings.add("security-scope-added", there, f"scope {scope} was added")


def _keys(findings: Findings, old: Node, new: Node, where: str, keys: tuple[str, ...]) -> None:
    changed = [key for key in keys if old.get(key) != new.get(key)]
    if changed:
        text = "; ".join(f"{key} {old.get(key)} became {new.get(key)}" for key in changed)
        findings.add("security-scheme-changed", where, text)
