"""What each process of the company needs, made once, in the process that forks them: modules, model and first Release."""

from __future__ import annotations

import gc

from tests.companies.base import acme_model
from tests.companies.web_rows import first_release

acme_model()
first_release()
gc.freeze()  # no fork need search it for garbage, or copy its pages
