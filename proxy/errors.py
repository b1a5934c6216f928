"""Errors that a client sees, and the one place that picks their status codes and texts.

A refusal by policy is not among them: it is a decision, and `proxy.refusals` gives it its shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, eq=False)
class HttpError(Exception):
    """An answer that is an error.

    Attributes:
        status: HTTP status.
        code: Short stable word; ``error.code`` on the wire.
        message: For the client; never content, a key or an upstream's text that was not judged.
        param: The field that is wrong.
        type: ``error.type`` on the wire; left empty, it follows from the status.
        headers: Sent along.
        close: Whether the connection is closed, because the body was not read to its end.
        relayed: Whether the upstream said so, and the content had gone to it.
    """

    status: int
    code: str
    message: str
    param: str | None = None
    type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    close: bool = False
    relayed: bool = False

    def body(self) -> dict[str, Any]:
        """OpenAI's error shape."""
        kind = self.type or ("server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def bad_request(code: str, message: str, param: str | None = None) -> HttpError:
    """400: the client can mend it."""
    return HttpError(400, code, message, param)


def not_found(method: str, path: str) -> HttpError:
    """404 for everything that is not served."""
    shown = path if len(path) <= 100 and path.isascii() and path.isprintable() else "this path"
    return HttpError(404, "not_found", f"{method} {shown} is not served here")


def no_route() -> HttpError:
    """404: no route of the configuration takes the request."""
    return HttpError(404, "no_route", "No route takes this path, these headers and this model.")


def too_large(limit: int) -> HttpError:
    """413, before the body is read to its end."""
    return HttpError(413, "request_too_large", f"The body is larger than {limit} bytes.", close=True)


def guard_unavailable() -> HttpError:
    """503: not a refusal; nobody could judge, and the route says that this does not pass."""
    return HttpError(
        503,
        "guard_unavailable",
        "The content could not be judged right now, so it was not passed on. Try again later.",
        headers={"Retry-After": "5"},
    )


def audit_unavailable() -> HttpError:
    """503: nothing may leave that is not on record, and the record cannot be written."""
    return HttpError(
        503,
        "audit_unavailable",
        "The decision could not be put on record, so nothing was passed on. Try again later.",
        headers={"Retry-After": "5"},
    )


def review_unavailable() -> HttpError:
    """503: nothing that is flagged may leave that is not in the review queue, and the queue cannot be written."""
    return HttpError(
        503,
        "review_unavailable",
        "The content could not be put up for review, so it was not passed on. Try again later.",
        headers={"Retry-After": "5"},
    )


def too_long_to_judge() -> HttpError:
    """413: every guard that could not decide says that the content is too long; trying again would not help."""
    return HttpError(413, "content_too_long", "The content is too long to be judged, so it was not passed on.")


def bad_upstream(message: str = "The upstream's answer could not be read.") -> HttpError:
    """502: the upstream answered with something that cannot be judged."""
    return HttpError(502, "bad_upstream_response", message)


def upstream_unreachable() -> HttpError:
    """502: no connection."""
    return HttpError(502, "upstream_unreachable", "The upstream could not be reached.")


def upstream_timeout() -> HttpError:
    """504: the upstream took longer than the route allows."""
    return HttpError(504, "upstream_timeout", "The upstream did not answer in time.")


UPSTREAM_TEXTS = {
    429: "The upstream is receiving too many requests.",
    503: "The upstream is not available.",
    504: "The upstream did not answer in time.",
}
"""Fixed texts for failures whose own text is not passed on."""


def upstream_failure(status: int, headers: Mapping[str, str]) -> HttpError:
    """An upstream's 4xx or 5xx as far as nothing of its text is known to be harmless: the status is kept, the text is ours."""
    otherwise = "The upstream failed." if status >= 500 else "The upstream refused the request."
    kind, code = ("rate_limit_error", "rate_limit_exceeded") if status == 429 else ("", "upstream_error")
    text = UPSTREAM_TEXTS.get(status, otherwise)
    return HttpError(status, code, text, type=kind, headers=headers, relayed=True)
