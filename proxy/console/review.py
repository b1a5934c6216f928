"""The review page: what waits for people, one item to look at, and what they say about it.

Who says something gives a name, which is kept with what was said; it is remembered by a cookie, and nobody checks it: whoever
has the admin token may say anything in any name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

import structlog
from aiohttp import web

from proxy.audit.entry import moment
from proxy.audit.store import DAY_US
from proxy.console.gate import Refused, number_of
from proxy.console.rendering import Pages
from proxy.console.session import cookies_named
from proxy.console.shown import bar, clock_time
from proxy.review.examples_file import keep_as_example
from proxy.review.item import DECIDED, Exemption, Filter, Flagged, Held, Item, ReviewError, State
from proxy.review.queue import MAX_NAME_CHARS, MAX_NOTE_CHARS, ReviewQueue

log = structlog.get_logger()

COOKIE = "safeguard_reviewer"
COOKIE_S = 90 * 86_400
LISTED = 30
LONGEST_DAYS = 365
DEFAULT_DAYS = 30
_KEPT = ("state", "policy", "content")
"""What of the address is kept from one item to the next."""

_STATES = (*State, "all")
_WAITED = {
    Held.WAITING: "it waits no more",
    Held.ANSWERED: "it was told what was said here",
    Held.NOBODY: "nobody decided in time",
    Held.LEFT: "its client has left",
    Held.CUT: "it was cut short, because too many waited or the proxy was being stopped",
}
_LOOKED_AT = (State.UPHELD, State.OVERTURNED)


class ReviewPages:
    """Draws the pages, and does what their forms ask for; blocks, any thread may. Raises `ReviewError`.

    Args:
        queue: The queue; closed with the pages.
        pages: What draws.
        config_path: The configuration, beside which examples lie; None: none can be added.
    """

    def __init__(self, queue: ReviewQueue, pages: Pages, config_path: Path | None = None) -> None:
        self._queue = queue
        self._pages = pages
        self._config_path = config_path

    def close(self) -> None:
        """Let go of the queue."""
        self._queue.close()

    def draw(self, frame: Mapping[str, Any], query: Mapping[str, str], reviewer: str) -> str:
        """The queue, and one item of it."""
        wanted = _wanted(query)
        kept = {name: query[name] for name in _KEPT if query.get(name)}
        items = self._queue.items(wanted, limit=LISTED + 1)
        item = self._queue.get(query["item"]) if query.get("item") else self._first(wanted, items)
        counts = self._queue.counts()
        return self._pages.draw(
            "review.html",
            **frame,
            items=[self._line(i, kept) for i in items[:LISTED]],
            has_more=len(items) > LISTED,
            one=None if item is None else self._one(item, query.get("content") == "shown"),
            next=None if item is None else self._beside(items, item, wanted, kept, 1),
            previous=None if item is None else self._beside(items, item, wanted, kept, -1),
            states=[(s, "/console/review?" + urlencode({**kept, "state": s}), _n(counts.by_state, s)) for s in _STATES],
            state=query.get("state") or State.PENDING.value,
            policy=query.get("policy", ""),
            kept=kept,
            toggle=_address({k: v for k, v in kept.items() if k != "content"}, item),
            show=_address({**kept, "content": "shown"}, item),
            n_exceptions=counts.exceptions,
            reviewer=reviewer,
            max_name=MAX_NAME_CHARS,
            max_note=MAX_NOTE_CHARS,
            days=DEFAULT_DAYS,
            longest_days=LONGEST_DAYS,
        )

    def _first(self, wanted: Filter, items: list[Item]) -> Item | None:
        """What to look at: a request that waits goes before what came later."""
        waiting = self._queue.items(Filter(state=wanted.state, policy=wanted.policy, held=True), limit=LISTED)
        return waiting[-1] if waiting else items[0] if items else None

    def _beside(self, items: list[Item], item: Item, wanted: Filter, kept: Mapping[str, str], step: int) -> str | None:
        ids = [i.id for i in items]
        if step > 0:
            older = self._queue.items(wanted, before=item.id, limit=1)
            return _address(kept, older[0]) if older else None
        newer = [i for i in items if i.id > item.id]
        return (
            _address(kept, newer[-1]) if newer and item.id >= ids[-1] else _address(kept, items[0]) if newer else None
        )

    def _line(self, item: Item, kept: Mapping[str, str]) -> dict[str, Any]:
        return {
            "id": item.id,
            "href": _address(kept, item),
            "moment": moment(item.time_us),
            "time": clock_time(moment(item.time_us)),
            "policies": item.policies,
            "route": item.route or "",
            "stage": item.stage,
            "state": item.state.value,
            "waits": item.is_held(self._queue.clock()),
        }

    def _one(self, item: Item, with_content: bool) -> dict[str, Any]:
        content = None
        if with_content and item.has_content:
            content = self._queue.content(item.id)
            log.info("content_shown", decision_id=item.decision_id, review=item.id)
        rationales = (content or {}).get("rationales") or {}
        return {
            "item": item,
            "moment": moment(item.time_us),
            "waits_until": moment(item.held_until_us)[11:19] if self._waits(item) and item.held_until_us else "",
            "waited": "" if item.held is None or self._waits(item) else _WAITED[item.held],
            "decision": "/console/decision?" + urlencode({"id": item.decision_id}),
            "bars": [bar(_verdict(flagged), rationales) for flagged in item.flagged],
            "exempt": [flagged.policy for flagged in item.flagged if flagged.fingerprint is not None],
            "with_content": with_content,
            "content": content,
            "can_be_example": self._config_path is not None and item.has_content,
            "is_looked_at": item.state in _LOOKED_AT,
            "said": [(moment(s.time_us), s.state.value, s.reviewer, s.note) for s in self._queue.history(item.id)],
        }

    def _waits(self, item: Item) -> bool:
        return item.is_held(self._queue.clock())

    # ------------------------------------------------------------------ what is said

    def say(self, form: Mapping[str, str]) -> str:
        """Do what a form says; gives where to go on.

        Raises:
            Refused: It says nothing that is known.
        """
        word, reviewer, note = (
            form.get("word", ""),
            form.get("reviewer", ""),
            form.get("note", "").replace("\r\n", "\n"),
        )
        kept = {name: form[name] for name in _KEPT if form.get(name)}
        item = self._queue.get(form.get("item", ""))
        expected, edition = _state(form.get("expected", "")), form.get("edition") or None
        if word == "exception":
            flagged, days = _flagged(item, form.get("exempt", "")), _days(form.get("days", ""))
            if expected not in _LOOKED_AT:  # nothing is let pass about which nobody has said anything
                self._queue.decide(item.id, State.OVERTURNED, reviewer, note, expected=expected, edition=edition)
                expected = State.OVERTURNED
            until = self._queue.clock() + days * DAY_US
            self._queue.add_exception(
                flagged, expires_us=until, by=reviewer, why=note, item=item.id, expected=expected, edition=edition
            )
            return _address(kept, item)
        if word not in DECIDED:
            raise Refused(400, f"word must be one of {', '.join(DECIDED)}, exception.")
        decided = self._queue.decide(item.id, State(word), reviewer, note, expected=expected, edition=edition)
        if form.get("example") and self._config_path is not None:
            try:
                keep_as_example(self._config_path, self._queue, decided, form.get("example_of") or None)
            except ReviewError as e:
                raise ReviewError(f"item {item.id} is {word}, but it is no example: {e}") from None
        older = self._queue.items(_wanted(form), before=item.id, limit=1)
        return _address(kept, older[0] if older else None)

    def draw_exceptions(self, frame: Mapping[str, Any], reviewer: str) -> str:
        """The exceptions that apply."""
        found = [_exception(e) for e in self._queue.exceptions(limit=LISTED * 10)]
        return self._pages.draw(
            "exceptions.html", **frame, exceptions=found, reviewer=reviewer, max_name=MAX_NAME_CHARS
        )

    def revoke(self, form: Mapping[str, str]) -> str:
        """Take an exception back; gives where to go on.

        Raises:
            Refused: It names none.
        """
        number = number_of(form.get("exception", ""))
        if number is None:
            raise Refused(400, "exception must be a number.")
        self._queue.revoke(number, form.get("reviewer", ""))
        return "/console/exceptions"


def _wanted(query: Mapping[str, str]) -> Filter:
    state = query.get("state") or State.PENDING.value
    return Filter(state=None if state == "all" else _state(state), policy=query.get("policy") or None)


def _state(text: str) -> State:
    if text not in list(State):
        raise Refused(400, f"state must be one of {', '.join(_STATES)}.")
    return State(text)


def _n(by_state: Mapping[State, int], state: str) -> int:
    return sum(by_state.values()) if state == "all" else by_state[State(state)]


def _address(kept: Mapping[str, str], item: Item | None) -> str:
    query = urlencode({**kept, **({} if item is None else {"item": item.id})})
    return f"/console/review?{query}" if query else "/console/review"


def _verdict(flagged: Flagged) -> dict[str, Any]:
    """What flagged, as records hold it."""
    about = dict(flagged.about)
    outcome = "error" if "error" in about else "flag"
    return {"outcome": outcome, **about, "policy": flagged.policy, "revision": flagged.revision}


def _flagged(item: Item, policy: str) -> Flagged:
    for flagged in item.flagged:
        if flagged.policy == policy:
            return flagged
    raise Refused(400, "exempt must be a policy that has flagged this.")


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= LONGEST_DAYS):
        raise Refused(400, f"days must be a number from 1 to {LONGEST_DAYS}.")
    return int(text)


def _exception(exception: Exemption) -> dict[str, Any]:
    return {
        "id": exception.id,
        "policy": exception.policy,
        "by": exception.by,
        "why": exception.why,
        "expires": moment(exception.expires_us)[:16].replace("T", " "),
        "created": moment(exception.created_us)[:16].replace("T", " "),
        "item": exception.item,
        "fingerprint": exception.fingerprint,
        "any_revision": exception.revision is None,
    }


def reviewer_of(cookies: str) -> str:
    """The name that was given last in this browser."""
    return unquote(next(cookies_named(COOKIE, cookies), ""), errors="replace")[:MAX_NAME_CHARS]


def remember_reviewer(answer: web.StreamResponse, name: str) -> None:
    """Have it filled in the next time."""
    answer.set_cookie(COOKIE, quote(name, safe=""), max_age=COOKIE_S, path="/console", httponly=True, samesite="Strict")
