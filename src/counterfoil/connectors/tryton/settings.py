"""Settings of a Tryton system in the governance files. They are checked when the connector is built."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from counterfoil.connectors.sdk import SettingProblem, SystemConfig, WrongConfiguration
from counterfoil.connectors.settings import missing_secrets, read_settings


class TrytonSettings(BaseModel):
    """Settings with the names of the ERP: account and journal codes, name of the payment term, id of the company."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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
    """Code of the journal for applications of credit memos, and of payments on account."""
    cash_journal: str = "CASH"
    """Code of the journal for payments, refunds, disputes and payouts."""
    write_off_journal: str = "WO"
    accruals_journal: str = "ACC"
    """Code of the journal for accruals at the end of a period and their reversals."""
    late_documents: Literal["refuse", "last_number"] = "refuse"
    """A document dated before the last number of its kind, which a gapless sequence refuses: `last_number` gives it that
    number's date, and books it on its own day. The date that the customer has is billing's."""
    cash_accounts: tuple[str, ...] = ()
    """Codes of the accounts whose entries are in the feed `entries`, also those entered by hand."""


def read(config: SystemConfig) -> tuple[TrytonSettings, str, str]:
    """Return the settings, the application key, and the password ("" without posting in bulk).

    Raises WrongConfiguration with every fault.
    """
    settings, problems = read_settings(TrytonSettings, config)
    problems += missing_secrets(config, ["key"])
    password = config.secrets.get("password", "")
    login = config.settings.get("login")
    if login and not password:
        problems += missing_secrets(config, ["password"])
    elif password and not login:
        message = "posting in bulk needs both the setting `login` and the secret `password`"
        problems.append(SettingProblem(("secrets", "password"), message))
    if problems or settings is None:
        raise WrongConfiguration(problems)
    return settings, config.secrets["key"], password
