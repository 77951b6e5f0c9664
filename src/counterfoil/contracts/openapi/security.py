"""Security requirements and security schemes: accepted credentials, how they are sent, and scopes."""

from __future__ import annotations

from typing import Any

from counterfoil.contracts.json_parts import Node, as_list, as_map, escape
from counterfoil.contracts.openapi.document import METHODS, ApiDescription
from counterfoil.contracts.openapi.findings import Findings

_SCHEME_KEYS = ("type", "in", "name", "scheme", "bearerFormat", "openIdConnectUrl")
_URL_KEYS = ("authorizationUrl", "tokenUrl", "refreshUrl")


def requirements(
    findings: Findings, documents: tuple[ApiDescription, ApiDescription], old: Any, new: Any, where: str
) -> None:
    """Report which combinations of credentials are accepted no longer or newly.

    None and an empty list require no credential. A scheme under another name is the same scheme.
    """
    if old == new:
        return
    before, after = _combinations(old, _new_names(*documents)), _combinations(new, {})
    for combination in before:
        if not any(_is_weaker(other, combination) for other in after):
            text = _text(combination)
            findings.add("security-narrowed", where, f"{text} is not accepted any more", detail=text)
    for combination in after:
        if not any(_is_weaker(other, combination) for other in before):
            text = _text(combination)
            findings.add("security-widened", where, f"{text} is accepted now", detail=text)


def _combinations(requirements: Any, new_names: dict[str, str]) -> list[dict[str, frozenset[str]]]:
    combinations = [
        {
            new_names.get(str(name), str(name)): frozenset(map(str, as_list(scopes)))
            for name, scopes in requirement.items()
        }
        for requirement in as_list(requirements)
        if isinstance(requirement, dict)
    ]
    return combinations or [{}]


def _new_names(before: ApiDescription, after: ApiDescription) -> dict[str, str]:
    """Return the new name of each scheme whose name is gone, if one new scheme has its content."""
    old, new = _schemes(before), _schemes(after)
    added = {name: node for name, node in new.items() if name not in old}
    same = {
        name: [other for other, candidate in added.items() if candidate == node]
        for name, node in old.items()
        if name not in new
    }
    return {name: others[0] for name, others in same.items() if len(others) == 1}


def _schemes(document: ApiDescription) -> dict[str, Node]:
    """Return the security schemes by name, without texts for people. HTTP ignores case in the lowered names."""
    schemes = {}
    for name, raw in document.section("components", "securitySchemes").items():
        node = {key: value for key, value in document.follow(raw).items() if key != "description"}
        lowered = "name" if node.get("in") == "header" else "scheme"
        if isinstance(node.get(lowered), str):
            node[lowered] = node[lowered].lower()
        schemes[str(name)] = node
    return schemes


def _used(document: ApiDescription) -> set[str]:
    """Return the names of the schemes that the description asks for somewhere; all of them if it asks for none."""
    stated = [document.root.get("security")]
    for item in (document.follow(node) for node in document.section("paths").values()):
        stated += [as_map(item.get(method)).get("security") for method in METHODS]
    names = {
        str(name)
        for requirements in stated
        for requirement in as_list(requirements)
        if isinstance(requirement, dict)
        for name in requirement
    }
    return names or set(map(str, document.section("components", "securitySchemes")))


def _is_weaker(first: dict[str, frozenset[str]], second: dict[str, frozenset[str]]) -> bool:
    return all(name in second and scopes <= second[name] for name, scopes in first.items())


def _text(combination: dict[str, frozenset[str]]) -> str:
    items = sorted(combination.items())
    parts = [name + (f" ({', '.join(sorted(scopes))})" if scopes else "") for name, scopes in items]
    return " with ".join(parts) or "no credential"


def schemes(findings: Findings, before: ApiDescription, after: ApiDescription) -> None:
    """Report changes of the security schemes. Nothing depends on the content of one that no operation asks for."""
    old, new, used = _schemes(before), _schemes(after), _used(before)
    for name in sorted({*old, *new}):
        where = f"/components/securitySchemes/{escape(name)}"
        if name not in new:
            findings.add("security-scheme-removed", where, f"security scheme {name} was removed")
        elif name not in old:
            findings.add("security-scheme-added", where, f"security scheme {name} was added")
        elif name in used:
            _scheme(findings, old[name], new[name], where)


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
