"""Routes that take no request because the one before them takes all: `safeguard config check` and the log say so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from proxy.config import Match, Route
from proxy.path_patterns import WHOLE, can_match


@dataclass(frozen=True, slots=True)
class UnreachableRoute:
    """A route, and the one that takes its requests."""

    route: str
    behind: str

    def __str__(self) -> str:
        return f"route {self.route}: takes no request: route {self.behind} stands before it and takes all of them"

    def record(self) -> dict[str, Any]:
        """As JSON output shows it."""
        return {"route": self.route, "behind": self.behind, "trouble": "unreachable", "message": str(self)}


def unreachable_routes(routes: Iterable[Route]) -> list[UnreachableRoute]:
    """One warning for each route behind one that asks for nothing but a path, if it takes every path that this one takes."""
    found: list[UnreachableRoute] = []
    takers: list[Route] = []
    for route in routes:
        taker = next((taker for taker in takers if _takes_all_of(taker.match, route)), None)
        if taker is not None:
            found.append(UnreachableRoute(route.name, taker.name))
        if not route.match.headers and route.match.models is None and route.match.key_env is None:
            takers.append(route)
    return found


def _takes_all_of(match: Match, route: Route) -> bool:
    if match.path is not None and match.path not in WHOLE:
        return match.path == route.match.path
    return not can_match(route.match.path, anything_below=bool(route.passthrough), behind_prefix=True)
