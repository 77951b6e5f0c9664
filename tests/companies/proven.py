"""A company in which workflows with mistakes are planted: everything except the workflow is in order."""

from __future__ import annotations

from tests.companies.base import documents, failure_policy, text_of

COMPANY = documents(
    text_of("base"),
    failure_policy(
        period_closed="queue",
        stale="park",
        accepted="continue",
        retry="{first: 1s, cap: 10s, attempts: 4}",
        queue="{every: 1h, until: 10d}",
        case_within="1d",
    ),
    text_of("proven"),
).replace("connector: http", "connector: external")
