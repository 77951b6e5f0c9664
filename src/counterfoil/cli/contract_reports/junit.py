"""Report as JUnit XML: one suite for each group, one case for each change."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

import msgspec

from counterfoil.cli.contract_reports.changes import JudgedChange, example_text, shorten
from counterfoil.cli.contract_reports.groups import Group, groups
from counterfoil.cli.contract_reports.summary import Comparison, totals

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that an XML document cannot contain."""


def junit(comparison: Comparison) -> Iterator[str]:
    """Yield the document. A breaking change is a failure, an undecided one is skipped or fails as the caller says."""
    root = ElementTree.Element("testsuites", name=_xml(f"{comparison.base} to {comparison.revision}"))
    rows = groups(comparison.rows)
    for group in rows:
        _suite(root, group, comparison)
    if not rows:
        # Some readers reject a document without a case.
        suite = ElementTree.SubElement(
            root, "testsuite", name="contract", tests="1", failures="0", skipped="0"
        )
        ElementTree.SubElement(suite, "testcase", classname="contract", name=_xml(totals(comparison)))
    for key in ("tests", "failures", "skipped"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in root)))
    ElementTree.indent(root)
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield ElementTree.tostring(root, encoding="unicode")


def _suite(root: ElementTree.Element, group: Group, comparison: Comparison) -> None:
    changes = [item for finding in group.findings for item in finding.folded.changes]
    suite = ElementTree.SubElement(root, "testsuite", name=_xml(group.title), tests=str(len(changes)))
    for item in changes:
        change = item.change
        name = f"{change.rule} {change.where}: {change.message}"
        case = ElementTree.SubElement(suite, "testcase", classname=_xml(group.title), name=_xml(name))
        if item.severity == "breaking" or (item.severity == "undecided" and comparison.undecided_breaks):
            failure = ElementTree.SubElement(case, "failure", type=change.rule, message=_xml(change.message))
            failure.text = _xml(_details(item))
        elif item.severity == "undecided":
            ElementTree.SubElement(case, "skipped", message=_xml(f"undecided: {change.message}"))
        elif item.accepted:
            ElementTree.SubElement(case, "system-out").text = _xml(f"accepted: {item.accepted}")
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))


def _details(item: JudgedChange) -> str:
    change = item.change
    lines = [change.message, f"at {change.where or '/'}", f"fingerprint {change.fingerprint}"]
    if change.example is not msgspec.UNSET:
        lines.append(f"example: {example_text(change.example)}")
    if change.used_by:
        lines.append(f"used by {shorten(list(change.used_by))}")
    return "\n".join(lines)


def _xml(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
