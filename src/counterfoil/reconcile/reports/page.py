"""The report as one HTML page that prints: no scripts, no other files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jinja2

from counterfoil.core.plural import counted
from counterfoil.reconcile.reports.words import (
    CAUSES,
    cause_rows,
    guess_lines,
    headline,
    money_text,
    shape_words,
)

MAX_PAGE_ROWS = 5_000
"""Differences on the page; the XLSX report has all."""
_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{{ title }}</title>
<style>
:root { --ink: #17202b; --hint: #5a6675; --line: #dfe3e9; --paper: #fff; --bad: #8a2b0b }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --hint: #9aa7b6; --line: #333d49; --paper: #12171d; --bad: #ffb59c } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto; max-width: 75rem; padding: 1.5rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem } p { margin: .3rem 0 }
.hint { color: var(--hint) } .wide { overflow-x: auto }
table { border-collapse: collapse; width: 100% } caption { text-align: left; color: var(--hint); padding: .2rem 0 }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top }
th { font-weight: 600 } .key { overflow-wrap: normal; min-width: 9rem } .n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
@media print { body { max-width: none; padding: 0 } tr { break-inside: avoid } thead { display: table-header-group } }
</style></head><body>
<h1>{{ headline }}</h1>
<p>{{ title }}</p>
<p class="hint">{{ counted(report.rows.left, 'row') }} on the left, {{ report.rows.right }} on the right{% if shapes %}; matched {{ shapes }}{% endif %}.</p>
<h2>Totals</h2>
<div class="wide"><table><thead><tr><th scope="col">Currency</th><th scope="col" class="n">Left</th><th scope="col" class="n">Right</th><th scope="col" class="n">Difference</th></tr></thead><tbody>
{% for currency, amount in report.totals.difference.items() %}<tr><th scope="row">{{ currency }}</th><td class="n">{{ report.totals.left.get(currency, '0') }}</td><td class="n">{{ report.totals.right.get(currency, '0') }}</td><td class="n">{{ amount }}</td></tr>
{% endfor %}</tbody></table></div>
{% for text in report.stated_totals %}<p>{{ text }}</p>{% endfor %}
{% if causes %}<h2>Causes</h2>
<div class="wide"><table><thead><tr><th scope="col">Cause</th><th scope="col" class="n">Differences</th><th scope="col" class="n">Left less right</th></tr></thead><tbody>
{% for cause, count, sums in causes %}<tr><th scope="row">{{ words[cause] }}</th><td class="n">{{ count }}</td><td class="n">{{ money_text(sums) }}</td></tr>
{% endfor %}</tbody></table></div>
<h2>Differences</h2>
<div class="wide"><table>{% if report.differences | length > limit %}<caption>The first {{ limit }} of {{ report.differences | length }}; the XLSX report has all.</caption>{% endif %}
<thead><tr><th scope="col">Cause</th><th scope="col">Key</th><th scope="col" class="n">Left</th><th scope="col" class="n">Right</th><th scope="col" class="n">Difference</th><th scope="col">Rows</th><th scope="col">Why</th></tr></thead><tbody>
{% for d in report.differences[:limit] %}<tr><td>{{ words[d.cause] }}</td><td class="key">{{ d.key }}</td><td class="n">{{ d.left or '' }}</td><td class="n">{{ d.right or '' }}</td><td class="n">{{ money_text(d.amounts) }}</td><td>{{ d.left_rows | join(', ') }}{{ ' / ' if d.left_rows and d.right_rows }}{{ d.right_rows | join(', ') }}</td><td>{{ d.why }}</td></tr>
{% endfor %}</tbody></table></div>{% endif %}
{% if report.unreadable %}<h2>Rows without a readable amount</h2><ul>{% for u in report.unreadable[:limit] %}<li>{{ u.side }}, {{ u.place }}: {{ u.amount or 'empty' }}</li>{% endfor %}</ul>{% endif %}
<h2>What was guessed</h2>
<div class="wide"><table><thead><tr><th scope="col">Role</th><th scope="col">Left</th><th scope="col">Right</th><th scope="col" class="n">Sure</th><th scope="col">Why</th></tr></thead><tbody>
{% for role, left, right, sure, why in guesses %}<tr><th scope="row">{{ role }}</th><td>{{ left }}</td><td>{{ right }}</td><td class="n">{{ sure }}</td><td>{{ why }}</td></tr>
{% endfor %}</tbody></table></div>
{% for note in report.notes %}<p class="hint">{{ note }}</p>{% endfor %}
</body></html>
"""


def page(report: Mapping[str, Any], title: str) -> str:
    """Return the report as a page."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string(_PAGE).render(
        report=report,
        counted=counted,
        title=title,
        headline=headline(report),
        shapes=shape_words(report),
        causes=list(cause_rows(report)),
        guesses=list(guess_lines(report)),
        words=CAUSES,
        money_text=money_text,
        limit=MAX_PAGE_ROWS,
    )
