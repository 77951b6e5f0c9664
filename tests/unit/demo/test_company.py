"""Start of the demonstration company: what it needs is checked before the first process starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from counterfoil.demo import company
from counterfoil.demo.company import CannotStart, Company
from counterfoil.demo.progress import Progress


async def test_missing_packages_are_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(company, "PACKAGES", ("json", "no_such_erp", "no_such_desk"))
    started = Company(tmp_path, 0, tmp_path, Progress(Console(quiet=True)))
    with pytest.raises(CannotStart, match=r"no_such_erp, no_such_desk; .*pip install 'counterfoil\[demo\]'"):
        await started.prepare()
    assert list(tmp_path.iterdir()) == []
