"""Settings of a Tryton system in the governance files. They are checked when the connector is built."""

from __future__ import annotations

import msgspec

from counterfoil.connectors.http import SETTINGS
from counterfoil.connectors.sdk import SystemConfig
from counterfoil.core.errors import Misconfigured


class TrytonSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings with the names of the ERP: account and journal codes, name of the payment term, id of the company."""

    database: str
    company: int
    receivable: str
    """Code of the receivable account that documents and applications use."""
    payment_term: str
    journal: str = "REV"
    """Code of the journal of invoices and credit memos."""
    login: str | None = None
    """Login of the user who posts documents in bulk (usually the key's), with the secret `password`."""
    applications_journal: str = "APP"
    """Code of the journal for applications of credit memos."""


def read(config: SystemConfig) -> tuple[TrytonSettings, str, str]:
    """Return the settings, the application key, and the password ("" without posting in bulk).

    Raises Misconfigured with the name of a missing or unknown setting.
    """
    key = config.secrets.get("key", "")
    if not key:
        raise Misconfigured(f"system {config.name}: the secret `key` (an application key) is missing")
    try:
        own = {name: value for name, value in config.settings.items() if name not in SETTINGS}
        settings = msgspec.convert(own, TrytonSettings)
    except msgspec.ValidationError as error:
        raise Misconfigured(f"system {config.name}: settings: {error}") from error
    password = config.secrets.get("password", "")
    if bool(settings.login) != bool(password):
        raise Misconfigured(
            f"system {config.name}: posting in bulk needs both the setting `login` and the secret `password`"
        )
    return settings, key, password
