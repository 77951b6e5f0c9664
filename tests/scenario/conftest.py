"""Each scenario has systems of its own: what one does to them no other sees."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.companies.acme import Company, company


@pytest.fixture
def systems() -> Iterator[Company]:
    with company() as made:
        yield made
