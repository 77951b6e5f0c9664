"""The settings of a Tryton system in the governance files, checked when the connector is built."""

from __future__ import annotations

import msgspec

from counterfoil.connectors.sdk import SystemConfig
from counterfoil.core.errors import Misconfigured


class TrytonSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Names as they stand in the ERP: account and journal codes, the payment term's name, the company's id."""

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
    """Code of the journal in which a credit's application is entered."""


_CALLING = frozenset(
    {
        "allowed_hosts",
        "private_hosts",
        "loopback",
        "ca_file",
        "connect_timeout",
        "read_timeout",
        "max_response",
        "max_connections",
    }
)
"""The settings that `http.Http.of` reads."""


def read(config: SystemConfig) -> tuple[TrytonSettings, str, str]:
    """The settings, the application key and the password, "" when nothing is posted in bulk.

    Raises Misconfigured that names what is missing or unknown.
    """
    key = config.secrets.get("key", "")
    if not key:
        raise Misconfigured(
            f"system {config.name}: the secret `key` (an application key for REST) is missing"
        )
    try:
        own = {name: value for name, value in config.settings.items() if name not in _CALLING}
        settings = msgspec.convert(own, TrytonSettings)
    except msgspec.ValidationError as error:
        raise Misconfigured(f"system {config.name}: settings: {error}") from error
    password = config.secrets.get("password", "")
    if bool(settings.login) != bool(password):
        raise Misconfigured(
            f"system {config.name}: posting in bulk needs the setting `login` and the secret `password`, both"
        )
    return settings, key, password
