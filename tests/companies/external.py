"""A shop whose sales another integration posts: Counterfoil writes the counterfoil and waits for the observation."""

from __future__ import annotations

from tests.companies.base import documents, failure_policy, text_of

COMPANY = documents(failure_policy("firm"), text_of("external"))
