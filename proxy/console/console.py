"""The console's addresses: who may ask, by which method, and what answers. What pages show is in `proxy.console.views`.

::

    request ──▶ another site's page? ──▶ session or bearer token ──▶ POST: origin, form token ──▶ view ──▶ template
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import parse_qsl, quote, urlsplit

from aiohttp import web

from proxy.attempts import Attempts
from proxy.audit.store import AuditError
from proxy.console.gate import HEADERS, Refused, check_site, origin_scheme, read_form, see
from proxy.console.rendering import Pages, static_files
from proxy.console.session import COOKIE, OPEN, SESSION_S, Session, Sessions
from proxy.console.views import Asked, Views
from proxy.review.item import ReviewConflict, ReviewError
from proxy.server import Request

STATIC = "/console/static/"
_GET = ("GET", "HEAD")

View: TypeAlias = Callable[[Asked], Awaitable[web.StreamResponse | str]]


@dataclass(frozen=True, slots=True)
class _Address:
    """What is found at an address.

    Attributes:
        get: Answers GET with a page, or a piece of one.
        post: Answers a form.
        is_page: Whether a browser shows it, so that whoever is not signed in is asked to; the others are 401.
    """

    get: View | None = None
    post: Callable[[Asked, Mapping[str, str]], Awaitable[web.StreamResponse]] | None = None
    is_page: bool = True

    @property
    def methods(self) -> tuple[str, ...]:
        return (_GET if self.get is not None else ()) + (("POST",) if self.post is not None else ())


class Console:
    """Answers ``/console…`` and ``/api/…``; see the top of the file.

    Args:
        token: The admin port's bearer token; None: whoever asks may look, and `proxy.admin` sees to it that it is this machine.
        views: What is shown.
        pages: What draws it.
        attempts: Who has shown wrong tokens, here or elsewhere on the port.
    """

    def __init__(self, token: str | None, views: Views, pages: Pages, attempts: Attempts) -> None:
        self.sessions = Sessions(token)
        self._attempts = attempts
        self._has_token = token is not None
        self._views = views
        self._pages = pages
        self._static = static_files()
        self._addresses = {
            "/console": _Address(views.decisions),
            "/console/decision": _Address(views.decision),
            "/console/policies": _Address(views.policies),
            "/console/policy": _Address(views.policy),
            "/console/review": _Address(views.review, views.say),
            "/console/exceptions": _Address(views.exceptions, views.revoke),
            "/console/guards": _Address(views.guards),
            "/console/configuration": _Address(views.configuration),
            "/console/logout": _Address(post=self._logout),
            "/api/decisions/live": _Address(views.live, is_page=False),
            "/api/what-if": _Address(views.what_if, is_page=False),
        }

    @staticmethod
    def serves(path: str) -> bool:
        """Whether a path is the console's."""
        return path == "/console" or path.startswith(("/console/", "/api/"))

    async def close(self) -> None:
        """End streams, and begin no more."""
        await self._views.close()

    async def handle(self, request: Request, *, has_bearer: bool) -> web.StreamResponse:
        """Answer one request.

        Args:
            request: The request; without a token, it comes from this machine.
            has_bearer: Whether it carries the admin token.
        """
        path, _, query = request.target.partition("?")
        session: Session | None = None
        try:
            if path.startswith(STATIC):
                return self._file(request, path.removeprefix(STATIC))
            check_site(request)
            if has_bearer or not self._has_token:
                session = OPEN
            else:
                session = self.sessions.find("; ".join(request.headers.getall("Cookie", [])))
            if path == "/console/login" and self._has_token:
                return await self._login(request, session)
            return await self._at(path, request, query, session, has_bearer=has_bearer)
        except Refused as e:
            return self._told(e.status, str(e), session, request)
        except ReviewConflict as e:
            return self._told(409, f"{e}: go back, load the page again, and look once more.", session, request)
        except ReviewError as e:
            return self._told(400, f"The review queue says: {e}", session, request)
        except AuditError as e:
            return self._told(503, f"The audit cannot be read: {e}", session, request)

    async def _at(
        self, path: str, request: Request, query: str, session: Session | None, *, has_bearer: bool
    ) -> web.StreamResponse:
        address = self._addresses.get(path)
        if address is None:
            raise Refused(404, "There is no such page.")
        if request.method not in address.methods:
            raise Refused(405, f"Use {' or '.join(m for m in address.methods if m != 'HEAD')}.")
        if session is None:
            if not address.is_page or request.method not in _GET:
                raise Refused(401, "Sign in first.")
            return see("/console/login?" + "next=" + quote(request.target, safe=""))
        asked = Asked(request, _query(query), session, self.sessions)
        if request.method == "POST":
            form = await self._form(request, session, has_bearer=has_bearer)
            assert address.post is not None
            return await address.post(asked, form)
        assert address.get is not None
        answer = await address.get(asked)
        return answer if isinstance(answer, web.StreamResponse) else _page(answer)

    async def _form(self, request: Request, session: Session, *, has_bearer: bool) -> dict[str, str]:
        if has_bearer:  # no browser sends that by itself
            return await read_form(request)
        origin_scheme(request)
        form = await read_form(request)
        if not self.sessions.is_form_token(session, form.get("form_token", "")):
            raise Refused(403, "This form is too old: go back, load the page again, and send it from there.")
        return form

    async def _login(self, request: Request, session: Session | None) -> web.StreamResponse:
        if request.method not in (*_GET, "POST"):
            raise Refused(405, "Use GET or POST.")
        asked = _query(request.target.partition("?")[2])
        if request.method != "POST":
            if session is not None:
                return see("/console")
            return _page(self._sign_in(_own(asked.get("next", "")), failed=False))
        scheme = origin_scheme(request)
        form = await read_form(request)
        if wait_s := self._attempts.wait_s(request.remote):
            raise Refused(429, f"Too many wrong tokens have come from your address; wait {math.ceil(wait_s)} seconds.")
        cookie = self.sessions.begin(form.get("token", ""))
        go_to = _own(form.get("next", ""))
        if cookie is None:
            self._attempts.failed(request.remote)
            return _page(self._sign_in(go_to, failed=True), 401)
        answer = see(go_to)
        is_https = scheme == "https"
        answer.set_cookie(
            COOKIE, cookie, max_age=SESSION_S, path="/", httponly=True, samesite="Strict", secure=is_https
        )
        return answer

    def _sign_in(self, go_to: str, *, failed: bool) -> str:
        frame = self._views.frame(None, self.sessions)
        return self._pages.draw("login.html", **frame, failed=failed, next=go_to)

    async def _logout(self, asked: Asked, form: Mapping[str, str]) -> web.StreamResponse:
        if asked.session is not OPEN:
            self.sessions.end(asked.session)
        answer = see("/console/login" if self._has_token else "/console")
        answer.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict")
        return answer

    def _file(self, request: Request, name: str) -> web.Response:
        if name not in self._static:
            raise Refused(404, "There is no such file.")
        if request.method not in _GET:
            raise Refused(405, "Use GET.")
        type_, data = self._static[name]
        return web.Response(body=data, content_type=type_, charset="utf-8", headers=HEADERS)

    def _told(self, status: int, message: str, session: Session | None, request: Request) -> web.Response:
        """An error, as a page where a page was asked for."""
        if request.target.startswith("/api/"):
            return web.json_response({"error": {"message": message}}, status=status, headers=HEADERS)
        frame = self._views.frame(session, self.sessions)
        return _page(self._pages.draw("message.html", **frame, title=f"{status}", message=message), status)


def _query(query: str) -> dict[str, str]:
    """A query's values, of a name that comes twice the last.

    Raises:
        Refused: It cannot be read.
    """
    try:
        return dict(parse_qsl(query, max_num_fields=32, errors="strict"))
    except ValueError:
        raise Refused(400, "The address cannot be read.") from None


def _own(target: str) -> str:
    """Where to go after signing in: a page of ours, whatever somebody has written into a link."""
    path = urlsplit(target).path if target.startswith("/console") else ""
    return target if path == "/console" or path.startswith("/console/") else "/console"


def _page(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, content_type="text/html", charset="utf-8", status=status, headers=HEADERS)
