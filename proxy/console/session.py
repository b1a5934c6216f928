"""Who may look: a browser that has shown the admin token holds a signed cookie; forms carry a token of their own.

The key is made anew with every process, so a restart ends all sessions. Nothing is kept about a session but that it was ended.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

COOKIE = "safeguard_console"
SESSION_S = 12 * 3600


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that may look; or, by `OPEN`, anybody on this machine where no token is configured.

    Attributes:
        id: Drawn by chance.
        expires: When it ends, in seconds since 1970.
    """

    id: str
    expires: float


OPEN = Session("", float("inf"))
"""Whoever asks by a bearer token, or from this machine where there is none."""


class Sessions:
    """Begins, recognises and ends sessions.

    Args:
        token: The admin port's; None: there is none, and so there are no sessions.
        clock: Seconds since 1970.
    """

    def __init__(self, token: str | None, clock: Callable[[], float] = time.time) -> None:
        self._token = token
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._ended: dict[str, float] = {}

    def begin(self, token: str) -> str | None:
        """The cookie of a new session for whoever knows the token; None: it is another one."""
        if self._token is None or not hmac.compare_digest(_bytes(token), _bytes(self._token)):
            return None
        head = f"{int(self._clock()) + SESSION_S}.{secrets.token_hex(16)}"
        return f"{head}.{self._sign('session', head)}"

    def find(self, cookies: str) -> Session | None:
        """The session that a ``Cookie`` header names; None: none that is valid."""
        found = (self._read(value) for value in cookies_named(COOKIE, cookies))
        return next((session for session in found if session is not None), None)

    def _read(self, value: str) -> Session | None:
        head, _, signature = value.rpartition(".")
        if not hmac.compare_digest(_bytes(signature), self._sign("session", head).encode()):
            return None
        expires, _, id_ = head.partition(".")
        session = Session(id_, float(expires))
        return session if self.is_valid(session) else None

    def is_valid(self, session: Session) -> bool:
        """Whether it has not ended."""
        return self._clock() < session.expires and session.id not in self._ended

    def end(self, session: Session) -> None:
        """Let it be recognised no more, whoever has a copy of its cookie."""
        now = self._clock()
        self._ended = {id_: expires for id_, expires in self._ended.items() if expires > now}
        self._ended[session.id] = session.expires

    def form_token(self, session: Session) -> str:
        """What a form must carry, so that another site cannot fill it in for this session."""
        return self._sign("form", session.id)

    def is_form_token(self, session: Session, given: str) -> bool:
        """Whether a form carries it."""
        return hmac.compare_digest(_bytes(given), self.form_token(session).encode())

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.digest(self._key, _bytes(f"{purpose}:{text}"), "sha256").hex()


def cookies_named(name: str, cookies: str) -> Iterator[str]:
    """The values that a ``Cookie`` header has for a name."""
    for pair in cookies.split(";"):
        found, _, value = pair.strip().partition("=")
        if found == name:
            yield value


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
