"""Which route takes a request, and which endpoint of the API it asks for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from proxy.client_keys import HEADER, Headers, bearer_digest, is_among
from proxy.loading.loaded import LoadedRoute

_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A route whose path matches, and the API path that is left once its prefix is stripped."""

    route: LoadedRoute
    endpoint: str


def candidates(routes: Iterable[LoadedRoute], raw_path: str) -> list[Candidate]:
    """Routes whose path pattern takes ``raw_path``, in order.

    The path is compared as it was sent: percent escapes, empty or dot segments match nothing, so that no two parsers can
    disagree about where a request went.
    """
    if not _PATH.fullmatch(raw_path) or "/./" in f"{raw_path}/" or "/../" in f"{raw_path}/":
        return []
    out = []
    for route in routes:
        endpoint = _endpoint(route.config.match.path, raw_path)
        if endpoint is not None:
            out.append(Candidate(route, endpoint))
    return out


def _endpoint(pattern: str | None, path: str) -> str | None:
    if pattern is None or pattern in ("/*", "/v1/*"):
        return path if pattern != "/v1/*" or path.startswith("/v1/") else None
    if not fnmatchcase(path, pattern):
        return None
    at = path.find("/v1/")
    return path[at:] if at >= 0 else None


def select(found: Iterable[Candidate], headers: Headers, model: str | None) -> Candidate | None:
    """The first route whose headers, keys and models match too.

    Args:
        found: Candidates by path.
        headers: The request's.
        model: The request's model; None for requests that have none (the list of models), which match by path and
            headers alone.
    """
    key = bearer_digest(headers)
    for candidate in found:
        match = candidate.route.config.match
        if not all(headers.getall(name, ()) == [value] for name, value in match.headers.items()):
            continue
        if match.key_env is not None and not is_among(key, candidate.route.client_keys):
            continue
        if model is not None and match.models is not None and not any(fnmatchcase(model, g) for g in match.models):
            continue
        return candidate
    return None


def ambiguous_header(found: Iterable[Candidate], headers: Headers) -> str | None:
    """A header that decides about the route and stands there more than once: a gateway has added to what a client sent.

    To take it for no match would let the client choose the route that comes next.
    """
    found = list(found)
    names = {name for candidate in found for name in candidate.route.config.match.headers}
    names |= {HEADER for candidate in found if candidate.route.config.match.key_env is not None}
    return next((name for name in sorted(names) if len(headers.getall(name, ())) > 1), None)


def may_use(route: LoadedRoute, model: str) -> bool:
    """Whether a route takes requests for a model."""
    globs: Sequence[str] | None = route.config.match.models
    return globs is None or any(fnmatchcase(model, g) for g in globs)
