"""A server of the gateway's company that logs everything to standard error. Standard input says what its ledger answers."""

from __future__ import annotations

import asyncio
import json
import sys

from counterfoil.bootstrap import open_store
from counterfoil.serving import log_to_stderr
from tests.companies.base import model_of
from tests.companies.gateway import COMPANY, offering

MARKED = (
    ("fields: {text: string,", "fields: {text: {type: string, pii: true},"),
    ("{note_id: id, text?: string, mood?: string}", "{note_id: id, text?: {type: string, pii: true}, mood?: string}"),
    ("output: {number: string, customer: string}", "output: {number: string, customer: {type: string, pii: true}}"),
)  # fmt: skip
"""Fields of the company that are personal here."""
NOTE = """
---
{kind: event, name: note.written.v1, object: note, doc: A note., data: {note_id: id, text: {type: string, pii: true}}}
"""


async def main(url: str) -> None:
    log_to_stderr()
    text = COMPANY + NOTE
    for plain, marked in MARKED:
        assert plain in text
        text = text.replace(plain, marked)
    store = await open_store(url)
    async with offering(store, offered=model_of(text)) as company:
        print(json.dumps({"url": str(company.http.base_url), "tokens": company.tokens}), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            status, body = json.loads(line)
            company.ledger.mood.append((status, {"Content-Type": "application/json"}, body.encode()))
            print("ready", flush=True)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
