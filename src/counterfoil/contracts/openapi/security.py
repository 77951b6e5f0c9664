"""Security: which credentials let a client in, how they are made and sent, and what they may be asked for."""

from __future__ import annotations

from typing import Any

from counterfoil.contracts.openapi.document import Document, escape, keyed, listed
from counterfoil.contracts.openapi.findings import Findings

_SAYS = ("type", "in", "name", "scheme", "bearerFormat", "openIdConnectUrl")
_URLS = ("authorizationUrl", "tokenUrl", "refreshUrl")


def requirements(findings: Findings, old: Any, new: Any, where: str) -> None:
    """Tell whether each way in still leads in. None and an empty list ask for nothing."""
    if old == new:
        return
    before, after = _ways(old), _ways(new)
    for way in before:
        if not any(_asks_no_more(other, way) for other in after):
            findings.add(
                "security-narrowed", where, f"{_shown(way)} let a client in, and does so no more",
                detail=_shown(way),
            )  # fmt: skip
    for way in after:
        if not any(_asks_no_more(other, way) for other in before):
            findings.add("security-widened", where, f"{_shown(way)} lets a client in too", detail=_shown(way))


def _ways(said: Any) -> list[dict[str, frozenset[str]]]:
    ways = [
        {str(name): frozenset(map(str, listed(scopes))) for name, scopes in way.items()}
        for way in listed(said)
        if isinstance(way, dict)
    ]
    return ways or [{}]


def _asks_no_more(one: dict[str, frozenset[str]], other: dict[str, frozenset[str]]) -> bool:
    return all(name in other and scopes <= other[name] for name, scopes in one.items())


def _shown(way: dict[str, frozenset[str]]) -> str:
    parts = [
        name + (f" ({', '.join(sorted(scopes))})" if scopes else "") for name, scopes in sorted(way.items())
    ]
    return " with ".join(parts) or "no credential"


def schemes(findings: Findings, before: Document, after: Document) -> None:
    """Tell what changes in the security schemes themselves."""
    old = before.section("components", "securitySchemes")
    new = after.section("components", "securitySchemes")
    for name in sorted({*map(str, old), *map(str, new)}):
        where = f"/components/securitySchemes/{escape(name)}"
        if name not in new:
            findings.add("security-scheme-removed", where, f"security scheme {name} is gone")
        elif name not in old:
            findings.add("security-scheme-added", where, f"security scheme {name} is new")
        elif old[name] != new[name]:
            _scheme(findings, before.follow(old[name]), after.follow(new[name]), where)


def _scheme(findings: Findings, old: dict[str, Any], new: dict[str, Any], where: str) -> None:
    changed = [key for key in _SAYS if old.get(key) != new.get(key)]
    if changed:
        said = "; ".join(f"{key} {old.get(key)} became {new.get(key)}" for key in changed)
        findings.add("security-scheme-changed", where, said)
    before, after = keyed(old.get("flows")), keyed(new.get("flows"))
    for flow in sorted({*map(str, before), *map(str, after)}):
        there = f"{where}/flows/{flow}"
        if flow not in after:
            findings.add("security-scheme-changed", there, f"flow {flow} is gone")
        elif flow in before:
            _flow(findings, keyed(before[flow]), keyed(after[flow]), there)


def _flow(findings: Findings, old: dict[str, Any], new: dict[str, Any], where: str) -> None:
    changed = [key for key in _URLS if old.get(key) != new.get(key)]
    if changed:
        said = "; ".join(f"{key} {old.get(key)} became {new.get(key)}" for key in changed)
        findings.add("security-scheme-changed", where, said)
    scopes = "availableScopes" if "availableScopes" in old else "scopes"
    before, after = keyed(old.get(scopes)), keyed(new.get(scopes))
    for scope in sorted({*map(str, before), *map(str, after)}):
        if scope not in after:
            findings.add(
                "security-scope-removed", f"{where}/scopes/{escape(scope)}", f"scope {scope} is gone"
            )
        elif scope not in before:
            findings.add("security-scope-added", f"{where}/scopes/{escape(scope)}", f"scope {scope} is new")
