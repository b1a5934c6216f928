"""The rules of a configuration: what each says, completed by its route and policy, and what does not go together."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.config import Config, Route, RuleEntry
from proxy.hold import StreamMode
from proxy.loading.source import Source, known
from proxy.yaml_file import Path as KeyPath
from rules.content import Surface
from rules.policy import DEFAULT_REFUSAL_TEXT, Policy
from rules.rule import Action, RewriteWith, Rule


def rule_of(
    source: Source,
    at: KeyPath,
    entry: RuleEntry,
    route: Route,
    config: Config,
    policies: Mapping[str, Policy],
    default_guard: str | None,
) -> Rule:
    """A rule as a route says it.

    Args:
        source: Where complaints point to.
        at: Where the rule stands: route, stage and number.
        entry: What it says.
        route: Says the rest.
        config: Has the guards.
        policies: All there are, by name.
        default_guard: Who judges if the rule does not say.

    Returns:
        The rule, without `Rule.basis`.

    Raises:
        ConfigError: A name is not known, or two things do not go together.
    """
    policy = policies.get(entry.policy)
    if policy is None:
        raise source.error((*at, "policy"), f"no policy is called {entry.policy!r}{known(policies)}")
    guards: tuple[str, ...] = ()
    if policy.detector is not None:
        if entry.guard is not None:
            raise source.error((*at, "guard"), f"policy {entry.policy!r} is a detector and needs no guard")
    else:
        given = (
            (entry.guard,)
            if isinstance(entry.guard, str)
            else entry.guard or ((default_guard,) if default_guard else ())
        )
        if not given:
            raise source.error(at, "names no guard, and there is no default_guard")
        for name in given:
            if name not in config.guards:
                raise source.error((*at, "guard"), f"no guard is called {name!r}{known(config.guards)}")
            if policy.category is None and getattr(config.guards[name], "api", None) == "moderations":
                raise source.error(
                    (*at, "guard"), f"guard {name!r} reads no policies: {policy.name!r} must name one of its categories"
                )
        guards = tuple(given)
    if entry.rewrite is not None and "output" in at and route.stream is StreamMode.DELIVER_FIRST:
        raise source.error(
            (*at, "rewrite"), "what `stream: deliver_first` has sent cannot be rewritten; use buffer or window"
        )
    if entry.rewrite is not None and "input" in at and route.overlap:
        raise source.error((*at, "rewrite"), "with `overlap: true` the request is sent before it could be rewritten")
    rewrite_with = _rewrite_with(source, at, entry, policy)
    thresholds = {
        action: value
        for action, value in (
            (Action.FLAG, entry.flag),
            (Action.REWRITE, entry.rewrite),
            (Action.REFUSE, entry.refuse),
        )
        if value is not None
    }
    scope: frozenset[Surface] | None = policy.surfaces if entry.scope is None else frozenset(entry.scope)
    return Rule(
        policy,
        guards,
        thresholds,
        entry.mode,
        entry.on_error or route.on_error,
        scope,
        rewrite_with,
        entry.restore,
        policy.rewrite_text or policy.refusal_text or route.refusal_text or DEFAULT_REFUSAL_TEXT,
        _hold_s(source, at, entry, route, config),
        entry.passes_below,
    )


def _hold_s(source: Source, at: KeyPath, entry: RuleEntry, route: Route, config: Config) -> float | None:
    """How long what a rule flags waits for a reviewer, if that goes together with the route."""
    if not entry.hold:
        return None
    reason = ""
    if config.review is None:
        reason = "there is no review queue: add a section `review`"
    elif "output" in at and route.stream is not StreamMode.BUFFER:
        reason = f"with `stream: {route.stream}` text has left before all of it could be reviewed; use buffer"
    elif "input" in at and route.overlap:
        reason = "with `overlap: true` the request is sent before it could be reviewed"
    if reason or config.review is None:
        raise source.error((*at, "hold"), reason)
    return config.review.hold_s if entry.hold_s is None else entry.hold_s


def _rewrite_with(source: Source, at: KeyPath, entry: RuleEntry, policy: Policy) -> RewriteWith:
    """What a rule's rewrite does, if that goes together with the rest of the rule."""
    is_detector = policy.detector is not None
    how = entry.rewrite_with or (RewriteWith.MASK if is_detector else RewriteWith.SENTENCES)
    key, reason = "rewrite_with", ""
    if entry.rewrite_with is not None and entry.rewrite is None:
        reason = "says how to rewrite, but the rule has no threshold `rewrite`"
    elif is_detector and how is not RewriteWith.MASK:
        reason = f"policy {entry.policy!r} is a detector, and what it finds is masked; use mask"
    elif not is_detector and how is RewriteWith.MASK:
        reason = f"policy {entry.policy!r} is judged by a guard, which finds nothing to mask; use sentences, text or advisory"
    elif how is RewriteWith.ADVISORY and "output" in at:
        reason = "an advisory speaks to the upstream, so it belongs to `input`; use sentences or text"
    elif entry.restore and "output" in at:
        key, reason = "restore", "what was masked in the request is restored, so it belongs to a rule of `input`"
    elif entry.restore and (entry.rewrite is None or not is_detector):
        key, reason = "restore", "restores what the rule masks, so it needs a detector and a threshold `rewrite`"
    if reason:
        raise source.error((*at, key), reason)
    return how
