"""Settings that connectors over HTTP share, and the reader of a connector's own: all faults at once, with near names."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationError

from counterfoil.connectors.sdk import SettingProblem, SystemConfig
from counterfoil.core.finding import did_you_mean

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _flag(value: object) -> object:
    """Return true or false for the texts of an environment variable; YAML 1.2 has no other words for them."""
    if isinstance(value, str):
        return {"true": True, "false": False, "1": True}.get(value, value)
    return value


Flag = Annotated[bool, Strict(), BeforeValidator(_flag)]
"""True or false, and nothing that resembles it: `yes` is a text in YAML 1.2."""
PATH = "a path, which governance makes relative to the file that names it"
"""Annotation of each setting whose text is the path of a file."""
Places: TypeAlias = Mapping[tuple[str, ...], type[BaseModel]]
"""Model of each inner place of settings; `*` in a path is any name."""


class ClientSettings(BaseModel):
    """Limits of the HTTP client, and the hosts that it may reach."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    allowed_hosts: tuple[str, ...] = ()
    private_hosts: tuple[str, ...] = ()
    loopback: Flag = False
    ca_file: Annotated[str | None, PATH] = None
    connect_timeout: Seconds = 5.0
    read_timeout: Seconds = 30.0
    max_response: Annotated[int, Field(gt=0)] = 16 * 1024 * 1024
    max_connections: Annotated[int, Field(gt=0)] = 20

    def tls(self) -> ssl.SSLContext | None:
        """Return the trust of `ca_file`, or None without one. Raises OSError."""
        return ssl.create_default_context(cafile=self.ca_file) if self.ca_file else None


SETTINGS = frozenset(ClientSettings.model_fields)
"""Settings of every connector over HTTP."""

_Settings = TypeVar("_Settings", bound=BaseModel)


def read_settings(
    model: type[_Settings], config: SystemConfig, places: Places | None = None
) -> tuple[_Settings | None, list[SettingProblem]]:
    """Return a connector's own settings, or None; and all problems, also of the shared settings and the address."""
    own = {name: value for name, value in config.settings.items() if name not in SETTINGS}
    settings, problems = _validate(model, own, {(): model, **(places or {})}, SETTINGS)
    return settings, [*_address(config.url), *client_settings(config)[1], *problems]


def read_own_settings(
    model: type[_Settings], config: SystemConfig, places: Places
) -> tuple[_Settings | None, list[SettingProblem]]:
    """Return the settings of a connector that does not call over HTTP, or None; and all problems of their form."""
    return _validate(model, config.settings, {(): model, **places})


def client_settings(config: SystemConfig) -> tuple[ClientSettings, list[SettingProblem]]:
    """Return the settings of the HTTP client, and their problems; defaults if there are any."""
    settings, problems = _validate(ClientSettings, config.settings, {})
    if settings is None:
        return ClientSettings(), problems
    try:
        settings.tls()
    except OSError as error:
        message = f"`{settings.ca_file}` cannot be used: {error.strerror or error}"
        return settings, [SettingProblem(("settings", "ca_file"), message)]
    return settings, []


def missing_secrets(config: SystemConfig, names: Iterable[str]) -> list[SettingProblem]:
    """Return a problem for each secret that a connector needs and its system does not have."""
    return [
        SettingProblem(
            ("secrets", name), f"the secret `{name}` is missing", did_you_mean(name, config.secrets, f"add `{name}:`")
        )
        for name in names
        if not config.secrets.get(name)
    ]  # fmt: skip


def _address(url: str) -> list[SettingProblem]:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return [SettingProblem(("url",), f"`{url}` is not a URL")]
    if not fits:
        return [SettingProblem(("url",), f"`{url}` is not an http or https address", "write https://HOST")]
    if parts.username is not None or parts.query or parts.fragment:
        message = "the address has a user, a query or a fragment"
        return [SettingProblem(("url",), message, "remove it, and put secrets into `secrets`")]
    return []


def _validate(
    model: type[_Settings], values: Mapping[str, Any], places: Places, shared: frozenset[str] = frozenset()
) -> tuple[_Settings | None, list[SettingProblem]]:
    try:
        return model.model_validate(values), []
    except ValidationError as error:
        return None, [_problem(fault, places, shared) for fault in error.errors(include_url=False)]


def _problem(fault: Any, places: Places, shared: frozenset[str]) -> SettingProblem:
    steps = tuple(step for step in fault["loc"] if step != "[key]")
    path = ("settings", *steps)
    last = str(steps[-1]) if steps else ""
    if fault["type"] == "extra_forbidden":
        near = did_you_mean(last, _keys(steps[:-1], places, shared), "remove it")
        return SettingProblem(path, f"unknown setting `{last}`", near)
    if fault["type"] == "missing":
        return SettingProblem(path[:-1], f"`{last}` is missing", f"add `{last}:`")
    if fault["type"] == "value_error":
        return SettingProblem(path, str(fault["ctx"]["error"]))
    return SettingProblem(path, f"`{last}`: {_expectation(fault)}", _near_value(fault))


def _near_value(fault: Any) -> str:
    """Return a fix for a value outside a closed set, or for a word that is no boolean in YAML 1.2."""
    value = fault["input"]
    if not isinstance(value, str):
        return ""
    if fault["type"] in ("bool_type", "bool_parsing"):
        return f"write `{_BOOLEANS[value.lower()]}`" if value.lower() in _BOOLEANS else ""
    if fault["type"] in ("literal_error", "enum"):
        return did_you_mean(value, re.findall(r"'([^']*)'", fault["ctx"]["expected"]))
    return ""


_BOOLEANS = dict.fromkeys(("yes", "on", "y", "t", "true"), "true")
_BOOLEANS |= dict.fromkeys(("no", "off", "n", "f", "false"), "false")
"""Words that other formats read as true or false."""
_EXPECTED = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "string": "text",
    "tuple": "a list",
    "list": "a list",
    "dict": "a mapping",
    "mapping": "a mapping",
    "model": "a mapping",
}
"""Words for the types of settings, by the first word of the library's error type."""


def _expectation(fault: Any) -> str:
    word, _, rest = fault["type"].partition("_")
    if word in _EXPECTED and rest in ("type", "parsing", "from_float", "attributes_type"):
        return f"expected {_EXPECTED[word]}"
    if fault["type"] == "string_pattern_mismatch":
        return "expected a pointer such as /data/0/id"
    message = (
        str(fault["msg"])
        .replace("Input should be a valid", "expected a")
        .replace("Input should be", "expected")
    )
    return message[:1].lower() + message[1:]


def _keys(steps: tuple[Any, ...], places: Places, shared: frozenset[str]) -> set[str]:
    """Return the keys that settings may have at a place; at the top also the shared ones."""
    for place, model in places.items():
        if len(place) == len(steps) and all(p in ("*", s) for p, s in zip(place, steps, strict=True)):
            keys = {info.alias or name for name, info in model.model_fields.items()}
            return keys if place else keys | shared
    return set()
