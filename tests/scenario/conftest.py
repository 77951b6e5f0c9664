"""Each scenario has its own systems, so that scenarios do not affect each other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.companies.acme import Company, company


@pytest.fixture
def systems() -> Iterator[Company]:
    with company() as acme:
        yield acme
