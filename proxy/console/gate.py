"""What a browser's request must look like before anything is done for it: against other sites, and against itself.

* A page of another site may link here, and nothing else: no frames, images, scripts or calls.
* A form must come from a page of ours: by its ``Origin``, and by the token that it carries (`proxy.console.session`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, urlsplit

from aiohttp import web

from proxy.server import Request

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",  # `no-referrer` would take the Origin from our own forms
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""On every answer."""

MAX_FORM_BYTES = 64 * 1024
"""A long note, in letters that a form spells with twelve bytes each."""
FORM_TIMEOUT_S = 10.0


class Refused(Exception):
    """A request that is not answered; ``status`` and a message for whoever sent it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def check_site(request: Request) -> None:
    """Whether it comes from our own pages, from no page, or follows a link.

    Raises:
        Refused: Another site's page has sent it.
    """
    site = request.headers.get("Sec-Fetch-Site", "none")
    follows_link = (
        request.method in ("GET", "HEAD")
        and request.headers.get("Sec-Fetch-Mode") == "navigate"
        and request.headers.get("Sec-Fetch-Dest") == "document"
    )
    if site not in ("none", "same-origin") and not follows_link:
        raise Refused(403, "Another site's page may not ask for this.")


def origin_scheme(request: Request) -> str:
    """The scheme of our own address as the browser that sends a form sees it.

    Raises:
        Refused: The form comes from another origin, or does not say from which.
    """
    origins, hosts = request.headers.getall("Origin", []), request.headers.getall("Host", [])
    try:
        origin = urlsplit(origins[0]) if len(origins) == 1 else urlsplit("")
    except ValueError:
        origin = urlsplit("")
    if origin.scheme not in ("http", "https") or len(hosts) != 1 or origin.netloc.lower() != hosts[0].lower():
        raise Refused(403, "This form must be sent from the console's own page (a proxy in front must pass Host on).")
    return origin.scheme


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form, each at most once.

    Raises:
        Refused: It is no form, or a large one.
    """
    if request.content_type != "application/x-www-form-urlencoded":
        raise Refused(415, "Send a form: application/x-www-form-urlencoded.")
    if request.content_length is None or request.content_length > MAX_FORM_BYTES:
        raise Refused(413, f"A form has a Content-Length of at most {MAX_FORM_BYTES} bytes.")
    try:
        async with asyncio.timeout(FORM_TIMEOUT_S):
            body = await request.content.readexactly(request.content_length) if request.content_length else b""
        pairs = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=32)
    except (TimeoutError, asyncio.IncompleteReadError, ValueError):
        raise Refused(400, "The form cannot be read.") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise Refused(400, "The form has a field twice.")
    return form


def number_of(text: str) -> int | None:
    """A whole number as an address or a form spells it; None: it is none, or one that no database holds."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def see(target: str) -> web.Response:
    """The answer to a form that was accepted: go there."""
    return web.Response(status=303, headers={**HEADERS, "Location": quote(target, safe="/?&=%:;,+~-._#")})
