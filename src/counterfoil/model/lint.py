"""Lint of governance files: the rules of `contracts/lint` over every event, object, operation and workflow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from counterfoil.contracts.lint import form_of, lint
from counterfoil.core.finding import Finding
from counterfoil.model.document import Document
from counterfoil.model.source import Source


def lint_documents(documents: Iterable[Document | Source]) -> Iterator[Finding]:
    """Warnings, each at its line: they tell what will hurt later and forbid nothing."""
    for document in documents:
        form = form_of(document.data)
        if form is not None:
            for found in lint(document.data, form):
                yield document.finding(
                    found.rule, found.message, found.path, at_key=True, severity="warning", fix=found.fix
                )
