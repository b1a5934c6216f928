"""Which client speaks, as far as routes tell clients apart by their keys.

Keys are held as digests: nothing here can be printed by mistake, and all comparisons are of the same length.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from typing import Protocol

HEADER = "Authorization"


class Headers(Protocol):
    """A request's headers, names without regard to case."""

    def getall(self, name: str, default: Sequence[str]) -> Sequence[str]:
        """All values of one header."""
        ...


def digest_of(key: str) -> bytes:
    """A key as it is held here."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def bearer_digest(headers: Headers) -> bytes | None:
    """The digest of a request's bearer token; None if it has none, or more than one."""
    values = headers.getall(HEADER, ())
    scheme, _, token = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    return digest_of(token.strip()) if scheme.lower() == "bearer" else None


def is_among(digest: bytes | None, digests: Iterable[bytes]) -> bool:
    """Whether a client's key is one of several; the time that it takes says nothing about them."""
    same = [hmac.compare_digest(digest or b"", other) for other in digests]
    return any(same)
