"""Commands of the command line against a company that runs in the test."""

from __future__ import annotations

import asyncio
import os
import sys

from tests.companies.web import Company
from tests.patience import PATIENCE_SECONDS


async def command(company: Company, *words: str, person: str = "fay") -> tuple[int, str, str]:
    """Run a command for a person; return its exit code and what it wrote to both outputs."""
    own = {"COUNTERFOIL_URL": company.url, "COUNTERFOIL_TOKEN": company.tokens[person]}
    run = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from counterfoil.cli.main import main; main()", *words,
        env=os.environ | own, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(run.communicate(), PATIENCE_SECONDS)
    assert run.returncode is not None
    return run.returncode, out.decode(), err.decode()
