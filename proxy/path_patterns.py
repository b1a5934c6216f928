"""Which paths a route's pattern can match at all: one that matches none leaves its requests to the routes behind it.

Theory. The paths that `proxy.routing` gives to a route are a regular language (a prefix of well-formed segments, none of which
is ``v1``, then an endpoint), and so is a glob. Whether they have a path in common is found by walking both automata at once.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from fnmatch import fnmatchcase

SERVED = (
    *("/v1/chat/completions", "/v1/completions", "/v1/responses"),
    *("/v1/embeddings", "/v1/moderations", "/v1/models"),
)
"""The endpoints by which routes are chosen; LiteLLM's mount takes the route of a chat."""

WHOLE = ("/*", "/v1/*")
"""Patterns that strip nothing, so they take no prefix."""

_CHARS = frozenset(string.ascii_letters + string.digits + "._~-/")
_ANY = None
"""A star of a pattern."""

_State = tuple[str, str]
"""What was read of a path.

``first`` or ``later`` segment of a prefix, or a segment of the ``tail`` behind ``/v1/``, and what matters of it: nothing yet,
dots, ``v``, ``v1``, or ``x`` for all others. Or an ``endpoint``, and what is still to come of it.
"""
_START: _State = ("start", "")
_DOTS = (".", "..")


def can_match(pattern: str | None, *, anything_below: bool = False, behind_prefix: bool = False) -> bool:
    """Whether a pattern matches some path that is served.

    Args:
        pattern: Of a route; None matches everything.
        anything_below: Whether any path below ``/v1/`` is served, as for a route with ``passthrough``.
        behind_prefix: Ask for paths with something before ``/v1`` only.
    """
    if pattern is None or pattern in WHOLE:
        return not behind_prefix
    tokens = list(_tokens(pattern))
    seen = {(0, _START)}
    stack = list(seen)
    while stack:
        at, state = stack.pop()
        if at == len(tokens):
            if _is_served(state):
                return True
            continue
        token = tokens[at]
        moves = [(at + 1, state)] if token is _ANY else []
        for char, after in _moves(state, anything_below, behind_prefix):
            if token is _ANY:
                moves.append((at, after))
            elif char in token:
                moves.append((at + 1, after))
        fresh = [move for move in moves if move not in seen]
        seen.update(fresh)
        stack += fresh
    return False


def _tokens(pattern: str) -> Iterator[frozenset[str] | None]:
    """What a glob takes, character by character, as `fnmatch` reads it."""
    at = 0
    while at < len(pattern):
        end = at + 1
        if pattern[at] == "[":
            close = pattern.find("]", at + (3 if pattern[at + 1 : at + 2] == "!" else 2))
            end = close + 1 if close >= 0 else end
        piece = pattern[at:end]
        yield _ANY if piece == "*" else frozenset(char for char in _CHARS if fnmatchcase(char, piece))
        at = end


def _moves(state: _State, anything_below: bool, behind_prefix: bool) -> Iterator[tuple[str, _State]]:
    """The characters that may come, and what was read then."""
    where, rest = state
    if where == "endpoint":
        if rest:
            yield rest[0], (where, rest[1:])
        return
    if where != "start":
        for char in _CHARS - {"/"}:
            yield char, (where, _segment(rest + char))
        if not rest or rest in _DOTS:
            return
    may_begin = not behind_prefix or where == "later"
    if where == "tail" or (rest == "v1" and anything_below and may_begin):
        yield "/", ("tail", "")
    elif rest != "v1":
        yield "/", ("first" if where == "start" else "later", "")
        if where != "start" or not behind_prefix:
            for endpoint in SERVED:
                yield "/", ("endpoint", endpoint[1:])


def _segment(text: str) -> str:
    return text if text in ("v", "v1", *_DOTS) else "x"


def _is_served(state: _State) -> bool:
    where, rest = state
    return (where == "endpoint" and not rest) or (where == "tail" and rest != "" and rest not in _DOTS)
