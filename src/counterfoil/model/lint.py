"""Lint of governance files: the rules of `contracts/lint` over every event, object, operation and workflow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from counterfoil.contracts.lint import form_of, lint
from counterfoil.core.finding import Finding
from counterfoil.model.document import Document
from counterfoil.model.source import Source


def lint_documents(documents: Iterable[Document | Source]) -> Iterator[Finding]:
    """Yield lint warnings with their places. They predict later problems and forbid nothing."""
    for document in documents:
        form = form_of(document.data)
        for w in lint(document.data, form) if form is not None else ():
            yield document.finding(w.rule, w.message, w.path, at_key=True, severity="warning", fix=w.fix)
