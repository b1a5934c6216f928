"""Routes that are made of other routes, worked out on the parsed file before anything is built of it.

``extends: NAME``: the route is the other one, with what it says itself put over it. ``strictest_of: [NAME, …]``: the route is
as strict as each of the others, whatever they say: for requests of which nobody knows where they belong.

What is read afterwards knows nothing of either: it sees routes with all their settings and rules. `Resolved.written` says where
in the file each of them stands, so that complaints point to what has to be changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.config import Config, Route, RuleEntry
from proxy.hold import StreamMode
from proxy.yaml_file import Path as KeyPath
from rules.rule import Mode, OnError, RewriteWith, Stage

_STAGES = tuple(stage.value for stage in Stage)

_NOT_INHERITED = ("name", "match", "base", "extends", "strictest_of")


class RouteError(ValueError):
    """Routes cannot be put together; ``key`` says where."""

    def __init__(self, key: KeyPath, reason: str) -> None:
        super().__init__(reason)
        self.key = key


@dataclass(frozen=True, slots=True)
class Resolved:
    """A configuration whose routes are whole.

    Attributes:
        config: Without the routes that are only there to be extended.
        written: Where in the file stands what makes up a route, a setting or a rule of ``config``; of a rule that several
            routes share, all places.
    """

    config: Config
    written: Mapping[KeyPath, tuple[KeyPath, ...]]


@dataclass(frozen=True, slots=True)
class _Ruled:
    """A rule, and where it is written."""

    entry: RuleEntry
    places: tuple[KeyPath, ...]


@dataclass(frozen=True, slots=True)
class _Made:
    """A whole route, and where its parts are written."""

    route: Route
    settings: Mapping[str, KeyPath]
    rules: Mapping[str, Sequence[_Ruled]]
    """By stage."""


def resolve(config: Config) -> Resolved:
    """Put all routes together.

    Raises:
        RouteError: A name stands twice or is not known, routes are made of each other in a circle, or one lacks something.
    """
    resolver = _Resolver(config.routes)
    routes: list[Route] = []
    written: dict[KeyPath, tuple[KeyPath, ...]] = {}
    for i, route in enumerate(config.routes):
        made = resolver.made(route.name)
        if route.base:
            if "match" in route.model_fields_set:
                raise RouteError(("routes", i, "match"), "`base: true` takes no request, so there is nothing to match")
            continue
        if "upstream" not in made.route.model_fields_set:
            raise RouteError(("routes", i, "upstream"), "is missing")
        at: KeyPath = ("routes", len(routes))
        written[at] = (("routes", i),)
        written |= {(*at, name): (place,) for name, place in made.settings.items()}
        for stage in _STAGES:
            written |= {(*at, stage, j): rule.places for j, rule in enumerate(made.rules[stage])}
        routes.append(made.route)
    if not routes:
        raise RouteError(("routes",), "all have `base: true`, so no request is taken")
    return Resolved(config.model_copy(update={"routes": tuple(routes)}), written)


class _Resolver:
    """Makes routes by name, each once."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._places: dict[str, tuple[int, Route]] = {}
        self._made: dict[str, _Made] = {}
        self._under_way: list[str] = []
        for i, route in enumerate(routes):
            if route.name in self._places:
                raise RouteError(("routes", i, "name"), f"another route is already called {route.name!r}")
            self._places[route.name] = (i, route)

    def made(self, name: str) -> _Made:
        """The whole route of a name."""
        if name not in self._made:
            i, route = self._places[name]
            self._under_way.append(name)
            if route.strictest_of:
                self._made[name] = _strictest(i, route, self._others(i, "strictest_of", route.strictest_of))
            else:
                named = () if route.extends is None else (route.extends,)
                self._made[name] = _extended(i, route, self._others(i, "extends", named))
            self._under_way.pop()
        return self._made[name]

    def _others(self, i: int, key: str, names: Iterable[str]) -> list[_Made]:
        """The routes that one is made of."""
        for name in names:
            if name not in self._places:
                known = ", ".join(self._places)
                raise RouteError(("routes", i, key), f"no route is called {name!r} (known: {known})")
            if name in self._under_way:
                circle = " -> ".join([*self._under_way[self._under_way.index(name) :], name])
                raise RouteError(("routes", i, key), f"routes are made of each other in a circle: {circle}")
        return [self.made(name) for name in names]


# ------------------------------------------------------------------ extends


def _extended(i: int, route: Route, parents: Sequence[_Made]) -> _Made:
    """A route over the one that it extends, if it extends one."""
    at: KeyPath = ("routes", i)
    own = {
        stage: [_Ruled(entry, ((*at, stage, j),)) for j, entry in enumerate(getattr(route, stage))] for stage in _STAGES
    }
    said = route.model_fields_set - set(_STAGES)
    settings: dict[str, KeyPath] = {name: (*at, name) for name in said}
    if not parents:
        return _Made(route, settings, own)
    (parent,) = parents
    rules = {}
    for stage in _STAGES:
        replaced = {rule.entry.policy for rule in own[stage]}
        rules[stage] = [rule for rule in parent.rules[stage] if rule.entry.policy not in replaced] + own[stage]
    update = {name: getattr(route, name) for name in (*said, *_NOT_INHERITED)}
    whole = parent.route.model_copy(update=update | _entries(rules))
    return _Made(whole, {**parent.settings, **settings}, rules)


def _entries(rules: Mapping[str, Sequence[_Ruled]]) -> dict[str, tuple[RuleEntry, ...]]:
    return {stage: tuple(rule.entry for rule in rules[stage]) for stage in _STAGES}


# ------------------------------------------------------------------ strictest_of


def _first_of(*strictest_first: Any) -> Callable[[Sequence[Any]], Any]:
    return lambda values: min(values, key=strictest_first.index)


def _in_all(values: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(glob for glob in values[0] if all(glob in others for others in values))


_STRICTEST: Mapping[str, Callable[[Sequence[Any]], Any]] = {
    "stream": _first_of(StreamMode.BUFFER, StreamMode.WINDOW, StreamMode.DELIVER_FIRST),
    "window_chars": min,
    "overlap_chars": max,
    "overlap": _first_of(False, True),
    "server_state": _first_of("refuse", "allow"),
    "on_error": _first_of(OnError.REFUSE, OnError.FLAG, OnError.FORWARD),
    "unknown_fields": _first_of("refuse", "screen"),
    "opaque": _first_of(OnError.REFUSE, OnError.FLAG, OnError.FORWARD),
    "max_body_bytes": min,
    "max_event_bytes": min,
    "passthrough": _in_all,
}
"""Settings of which one value is stricter than another, and how to find it. Others say nothing about strictness."""


def _strictest(i: int, route: Route, members: Sequence[_Made]) -> _Made:
    """The route that is as strict as each of several others."""
    at: KeyPath = ("routes", i)
    said = route.model_fields_set
    for name in ("extends", *_STAGES, *_STRICTEST):
        if name in said:
            raise RouteError((*at, name), "does not go together with strictest_of, which takes it from its routes")
    settings: dict[str, KeyPath] = {name: (*at, name) for name in said}
    update: dict[str, Any] = {
        name: find([getattr(m.route, name) for m in members]) for name, find in _STRICTEST.items()
    }
    for name in Route.model_fields.keys() - said - {*_NOT_INHERITED, *_STRICTEST, *_STAGES, "region"}:
        values = [getattr(m.route, name) for m in members]
        if any(value != values[0] for value in values):
            raise RouteError((*at, name), f"is missing: the routes of strictest_of have another {name} each")
        if name in members[0].route.model_fields_set:
            update[name], settings[name] = values[0], members[0].settings[name]
    rules = {stage: _strictest_rules(stage, members) for stage in _STAGES}
    return _Made(route.model_copy(update=update | _entries(rules)), settings, rules)


def _strictest_rules(stage: str, members: Sequence[_Made]) -> list[_Ruled]:
    """All rules of all members; those that read the same become one.

    Only for these is there one score. What another guard says, or the same guard about other surfaces, is another score, so
    such rules stay beside each other, and the gravest wins.
    """
    groups: dict[tuple[object, ...], list[_Ruled]] = {}
    for member in members:
        for rule in member.rules[stage]:
            if rule.entry.mode is Mode.OFF:
                continue
            entry = rule.entry.model_copy(update={"on_error": rule.entry.on_error or member.route.on_error})
            guards = (entry.guard,) if isinstance(entry.guard, str) else entry.guard
            key = (entry.policy, guards, None if entry.scope is None else frozenset(entry.scope))
            groups.setdefault(key, []).append(_Ruled(entry, rule.places))
    return [_merged(group) for group in groups.values()]


_REWRITES = (RewriteWith.TEXT, RewriteWith.SENTENCES, RewriteWith.MASK, None, RewriteWith.ADVISORY)
"""What takes away most comes first; None is what suits the policy, one of the two before it."""

_MERGED = {
    "policy",
    "guard",
    "pass_below",
    "scope",
    "flag",
    "rewrite",
    "refuse",
    "mode",
    "on_error",
    "rewrite_with",
    "restore",
    "hold",
    "hold_s",
}


def _passes_below(counted: Sequence[_Ruled]) -> dict[str, float] | None:
    """Where the earlier guards of a cascade pass: where the most goes on to the next guard, and below all thresholds."""
    lowest = min(
        t for rule in counted for t in (rule.entry.flag, rule.entry.rewrite, rule.entry.refuse) if t is not None
    )
    limits = [rule.entry.passes_below for rule in counted]
    if any(those.keys() != limits[0].keys() for those in limits):  # what is not said is measured, and not known here
        raise RouteError(
            (*counted[-1].places[0], "pass_below"),
            "is said by some routes of a strictest_of only; say it in all or in none",
        )
    return {guard: min(lowest, *(those[guard] for those in limits)) for guard in limits[0]} or None


def _merged(group: Sequence[_Ruled]) -> _Ruled:
    """One rule that is as strict as each of several about the same score. Drafts in shadow have no say where others enforce."""
    mode = Mode.ENFORCE if any(rule.entry.mode is Mode.ENFORCE for rule in group) else Mode.SHADOW
    counted = [rule for rule in group if rule.entry.mode is mode]
    entries = [rule.entry for rule in counted]
    holding = [entry for entry in entries if entry.hold]
    others = RuleEntry.model_fields.keys() - _MERGED
    for name, those in (*((name, entries) for name in others), ("hold_s", holding)):
        if any(getattr(entry, name) != getattr(those[0], name) for entry in those):
            raise RouteError(
                (*counted[-1].places[0], name), "differs between routes of a strictest_of; make it the same"
            )
    update: dict[str, Any] = {"on_error": _STRICTEST["on_error"]([entry.on_error for entry in entries])}
    for action in ("flag", "rewrite", "refuse"):
        update[action] = min((t for e in entries if (t := getattr(e, action)) is not None), default=None)
    update["pass_below"] = _passes_below(counted)
    update["hold"], update["hold_s"] = bool(holding), holding[0].hold_s if holding else None
    rewriting = [entry for entry in entries if entry.rewrite is not None]
    update["rewrite_with"] = min((e.rewrite_with for e in rewriting), key=_REWRITES.index, default=None)
    update["restore"] = bool(rewriting) and all(entry.restore for entry in rewriting)
    places = tuple(dict.fromkeys(place for rule in counted for place in rule.places))
    return _Ruled(entries[0].model_copy(update=update), places)
