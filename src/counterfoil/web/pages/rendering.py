"""Pages over HTTP: rendered templates, error pages, redirects and notes after an action."""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import jinja2
from jinja2.runtime import Context
from litestar.datastructures import Cookie
from litestar.response import Response
from markupsafe import Markup

from counterfoil.application import Application
from counterfoil.core.case_choices import LABELS
from counterfoil.core.clock import utc_now
from counterfoil.core.personal_texts import PersonalTexts
from counterfoil.web.api.notices import unread_notices
from counterfoil.web.http import assets
from counterfoil.web.http.identity import Identity
from counterfoil.web.http.problems import problem_of, problem_response
from counterfoil.web.http.request import WebRequest, application, masked_texts
from counterfoil.web.pages import filters

ZONE_COOKIE = "counterfoil_zone"
HTML = "text/html; charset=utf-8"
_PROGRAM_PATHS = ("/v1/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/static/")
_MASKED_TEXTS = "masked_texts"
_ADDRESS_CHARS = "/?#[]@:!$&'()*+,;=%"
"""Characters that an address holds as they are, beside letters and digits (RFC 3986)."""
MATCH_DECISIONS = {
    "pair": "Pair two documents",
    "unpair": "End a pair",
    "waive": "Accept a difference",
}
"""Titles of approvals that decide on a match."""
_NOTES = {
    "counted": "Your approval was counted. More approvals are needed.",
    "granted": "Approved. The Run continues.",
    "rejected": "Rejected. The workflow's policy decides what happens next.",
    "resolved": "The Case is resolved.",
    "assigned": "Done. The Case shows who works on it.",
    "commented": "Your comment is kept with the Case.",
    "tagged": "The tags are changed.",
    "snoozed": "Done. Lists leave a snoozed Case out until its time, at the latest until its deadline.",
    "preferences": "Saved. It holds for what is mailed from now on.",
    "read": "Marked as read. A notice that comes back is unread again.",
    "delegated": "Done. Both names are recorded with each decision.",
    "delegation-ended": "The delegation has ended.",
    "requested": "Requested. Another person must agree: see the approvals.",
    "plan-granted": "Approved. The change may be applied now: `counterfoil apply`.",
    "plan-counted": "Approved. The change waits for its other approvals.",
    "plan-rejected": "Rejected. The change will not be applied.",
    "match-granted": "Approved and done.",
    "match-rejected": "Rejected. The documents stay as they are.",
    "paired": "Paired. The item answers the counterfoil now.",
    "unpaired": "The pair has ended. Both documents are matched by their keys again.",
    "waived": "The difference is accepted.",
    "reading": "Both books are being read. This takes minutes, and goes on when you leave the page.",
    "prepared": "Prepared. Another person signs it.",
    "signed": "Signed. A later change inside it opens a Case.",
    "signed-out": "You are signed out.",
}


@jinja2.pass_context
def _masked(context: Context, value: Any) -> Any:
    """Return a value of a template without the personal texts that the caller may not read."""
    texts: PersonalTexts | None = context.get(_MASKED_TEXTS)
    if texts is None:  # inside of an imported macro, whose markup passes here again where it is called
        return value
    if isinstance(value, Markup):
        return Markup(texts.replace_escaped(value))  # noqa: S704 - it was markup, and a fixed word is put into it
    return texts.replace(value) if isinstance(value, str) else value


class PageTemplates:
    """The templates, ready to render."""

    def __init__(self) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("counterfoil.web"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            finalize=_masked,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(filters.FILTERS)
        self._environment.globals.update(
            asset=assets.address, choice_labels=LABELS, match_decisions=MATCH_DECISIONS
        )

    def render(
        self,
        template: str,
        now: datetime,
        identity: Identity | None,
        zone: ZoneInfo,
        masked: PersonalTexts,
        **values: Any,
    ) -> str:
        def when(moment: datetime | None, exact: bool = False) -> Any:
            return filters.when(moment, now, exact, zone)

        may = {str(p) for p in identity.may} if identity else set()
        page = self._environment.get_template(template)
        return page.render(
            now=now, me=identity, may=may, when=when, zone=zone.key, **{_MASKED_TEXTS: masked},
            local_times=lambda text: filters.local_times(text, zone),
            clock=lambda moment: filters.clock(moment, zone), day=lambda moment: filters.day(moment, zone),
            **{"entities": {}, "bound": False, "unread": None, **values},
        )  # fmt: skip


async def render_page(request: WebRequest, template: str, status: int = 200, **values: Any) -> Response[str]:
    app = application(request)
    templates: PageTemplates = request.app.state.templates
    identity: Identity | None = request.scope.get("user")
    note = _NOTES.get(request.query_params.get("note", ""), "")
    path = request.url.path
    zone = zone_of(request)
    unread = None if identity is None else await unread_notices(request, identity)
    names = {"unread": unread, "entities": entity_titles(app), "bound": not app.scope.everything, **values}
    texts = masked_texts(request)
    text = templates.render(template, await app.now(), identity, zone, texts, note=note, path=path, **names)
    return Response(text, media_type=HTML, status_code=status)


def entity_titles(app: Application) -> dict[str, str]:
    """Return the registered names of the legal entities that the caller sees, by name."""
    entities = app.model.legal_entities.items()
    return {name: entity.title for name, entity in sorted(entities) if app.scope.sees(name)}


def zone_of(request: WebRequest) -> ZoneInfo:
    """Return the time zone of the person in the people file, else the one that this browser chose, else UTC."""
    identity: Identity | None = request.scope.get("user")
    for name in ("" if identity is None else identity.person.zone, request.cookies.get(ZONE_COOKIE, "")):
        with contextlib.suppress(ZoneInfoNotFoundError, ValueError, OSError):
            if name:
                return ZoneInfo(name)
    return ZoneInfo("UTC")


def is_page(request: WebRequest) -> bool:
    """Test whether a browser asks for a page: it accepts text/html, outside of the API's paths."""
    accept = request.headers.get("accept", "")
    return "text/html" in accept and not request.url.path.startswith(_PROGRAM_PATHS)


def error_page(request: WebRequest, error: Exception) -> Response[Any]:
    """Return a problem as a page. A person who is not signed in goes to the sign-in page."""
    problem = problem_of(error)
    path = request.url.path
    if problem.status == 401 and path != "/sign-in":
        next_path = quote(quote(path)) if request.method == "GET" and path != "/" else ""
        return redirect("/sign-in" + (f"?next={next_path}" if next_path else ""))
    templates: PageTemplates = request.app.state.templates
    identity: Identity | None = request.scope.get("user")
    try:
        text = templates.render(
            "problem.html",
            utc_now(),
            identity,
            zone_of(request),
            masked_texts(request),
            note="",
            path=path,
            problem=problem,
        )
    except jinja2.TemplateError:
        return problem_response(path, error)
    return Response(text, media_type=HTML, status_code=problem.status, headers=problem.headers)


def redirect(location: str, cookies: list[Cookie] | None = None) -> Response[None]:
    """Return a redirect. Characters that no header may hold, such as line ends, are percent-encoded."""
    address = quote(location, safe=_ADDRESS_CHARS)
    return Response(None, status_code=303, headers={"location": address}, cookies=cookies or [])


def safe_path(path: str) -> str:
    """Return a path on this site for a redirect; `/` for any other address."""
    own = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if own and "\\" not in path else "/"


def search_texts(**values: str | None) -> dict[str, str]:
    """Return query parameters as filter texts; empty for an absent one."""
    return {name: (value or "").strip() for name, value in values.items()}
