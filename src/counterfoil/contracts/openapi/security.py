"""Security requirements and security schemes: accepted credentials, how they are sent, and scopes."""

from __future__ import annotations

from typing import Any

from counterfoil.contracts.openapi.document import ApiDescription, escape, keyed, listed
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
            findings.add(
                "security-narrowed", where, f"{_text(combination)} is not accepted any more",
                detail=_text(combination),
            )  # fmt: skip
    for combination in after:
        if not any(_is_weaker(other, combination) for other in before):
            findings.add(
                "security-widened", where, f"{_text(combination)} is accepted now", detail=_text(combination)
            )


def _combinations(requirements: Any) -> list[dict[str, frozenset[str]]]:
    combinations = [
        {str(name): frozenset(map(str, listed(scopes))) for name, scopes in requirement.items()}
        for requirement in listed(requirements)
        if isinstance(requirement, dict)
    ]
    return combinations or [{}]


def _is_weaker(first: dict[str, frozenset[str]], second: dict[str, frozenset[str]]) -> bool:
    return all(name in second and scopes <= second[name] for name, scopes in first.items())


def _text(combination: dict[str, frozenset[str]]) -> str:
    parts = [
        name + (f" ({', '.join(sorted(scopes))})" if scopes else "")
        for name, scopes in sorted(combination.items())
    ]
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


def _scheme(findings: Findings, old: dict[str, Any], new: dict[str, Any], where: str) -> None:
    changed = [key for key in _SCHEME_KEYS if old.get(key) != new.get(key)]
    if changed:
        text = "; ".join(f"{key} {old.get(key)} became {new.get(key)}" for key in changed)
        findings.add("security-scheme-changed", where, text)
    before, after = keyed(old.get("flows")), keyed(new.get("flows"))
    for flow in sorted({*map(str, before), *map(str, after)}):
        there = f"{where}/flows/{flow}"
        if flow not in after:
            findings.add("security-scheme-changed", there, f"flow {flow} was removed")
        elif flow in before:
            _flow(findings, keyed(before[flow]), keyed(after[flow]), there)


def _flow(findings: Findings, old: dict[str, Any], new: dict[str, Any], where: str) -> None:
    changed = [key for key in _URL_KEYS if old.get(key) != new.get(key)]
    if changed:
        text = "; ".join(f"{key} {old.get(key)} became {new.get(key)}" for key in changed)
        findings.add("security-scheme-changed", where, text)
    scopes = "availableScopes" if "availableScopes" in old else "scopes"
    before, after = keyed(old.get(scopes)), keyed(new.get(scopes))
    for scope in sorted({*map(str, before), *map(str, after)}):
        if scope not in after:
            findings.add(
                "security-scope-removed", f"{where}/scopes/{escape(scope)}", f"scope {scope} was removed"
            )
        elif scope not in before:
            findings.add(
                "security-scope-added", f"{where}/scopes/{escape(scope)}", f"scope {scope} was added"
            )
