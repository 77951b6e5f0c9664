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
        if form is not None:
            for warning in lint(document.data, form):
                fix = warning.fix
                yield document.finding(
                    warning.rule, warning.message, warning.path, at_key=True, severity="warning", fix=fix
                )
