"""What the console's pages show, each gathered here and drawn by the template of the same name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import structlog
from aiohttp import web

from proxy.audit.audit import Audit
from proxy.audit.store import Filter, Record
from proxy.console.gate import HEADERS, Refused, number_of, see
from proxy.console.guards import GuardWatch
from proxy.console.live import Live
from proxy.console.policies import Policies
from proxy.console.reading import SAMPLE_S, Page, Records, Threads
from proxy.console.rendering import Pages
from proxy.console.review import ReviewPages, remember_reviewer, reviewer_of
from proxy.console.session import Session, Sessions
from proxy.console.shown import bars, row
from proxy.loading.loaded import Loaded
from proxy.reload_record import ReloadRecord
from proxy.review.queue import ReviewQueue
from proxy.server import Request, write
from rules.rule import Action, Stage

log = structlog.get_logger()

ROWS = 50
KEEP_ALIVE_S = 15.0
_FILTERS = ("route", "region", "policy", "action", "stage")
_MAX_ID = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of somebody who may look."""

    request: Request
    query: Mapping[str, str]
    session: Session
    sessions: Sessions

    def number(self, name: str) -> int | None:
        """A number of the query, None without it.

        Raises:
            Refused: It is none.
        """
        text = self.query.get(name, "")
        if not text:
            return None
        number = number_of(text)
        if number is None:
            raise Refused(400, f"{name} must be a number.")
        return number


class Views:
    """All pages.

    Args:
        look: Gives the configuration that judges now.
        audit: What is being put on record; None: nothing is.
        reloads: The attempts to read the configuration again.
        pages: What draws.
        queue: The review queue; None: there is none.
        config_path: Where the configuration stands, if that is known.
    """

    def __init__(
        self,
        look: Callable[[], Loaded],
        audit: Audit | None,
        reloads: ReloadRecord,
        pages: Pages,
        queue: ReviewQueue | None = None,
        config_path: Path | None = None,
    ) -> None:
        self._look = look
        self._reloads = reloads
        self._pages = pages
        self._audit = audit
        self._threads = Threads()
        self._guards = GuardWatch()
        self._records = Records(audit.folder.path) if audit is not None else None
        self._live = Live(audit, self._row) if audit is not None else None
        self._catching_up = asyncio.Lock()  # many come back at once after a restart
        self._reviews = ReviewPages(queue, pages, config_path) if queue is not None else None
        self._policies = Policies(self._records, pages)

    async def close(self) -> None:
        """End streams, and begin no more."""
        if self._live is not None:
            await self._live.close()
        self._threads.close()
        if self._reviews is not None:
            await asyncio.to_thread(self._reviews.close)

    def frame(self, session: Session | None, sessions: Sessions, here: str = "") -> dict[str, Any]:
        """What stands around every page."""
        can_leave = session is not None and bool(session.id)
        form_token = sessions.form_token(session) if session is not None else ""
        return {
            "here": here,
            "can_leave": can_leave,
            "form_token": form_token,
            "has_session": session is not None,
            "has_review": self._reviews is not None,
        }

    def _row(self, record: Record) -> str:
        return self._pages.draw("row.html", row=row(record))

    # ------------------------------------------------------------------ decisions

    async def decisions(self, asked: Asked) -> str:
        """The last decisions, as they come."""
        frame = self.frame(asked.session, asked.sessions, "decisions")
        if self._records is None:
            return self._pages.draw("no_audit.html", **frame)
        given = {name: asked.query.get(name, "") for name in _FILTERS}
        before = asked.number("before")
        wanted = _filter(given)
        return await self._threads.run(self._draw_decisions, frame, given, wanted, before)

    def _draw_decisions(self, frame: dict[str, Any], given: dict[str, str], wanted: Filter, before: int | None) -> str:
        assert self._records is not None
        loaded = self._look()
        page: Page = self._records.page(wanted, before=before, limit=ROWS)
        chosen = {name: value for name, value in given.items() if value}
        newest = page.records[0]["seq"] if page.records else 0
        return self._pages.draw(
            "decisions.html",
            **frame,
            rows=[row(record) for record in page.records],
            given=given,
            is_filtered=bool(chosen),
            choices=_choices(loaded, given),
            older="/console?" + urlencode({**chosen, "before": page.more_before}) if page.more_before else "",
            first="/console?" + urlencode(chosen) if before is not None else "",
            gave_up=page.gave_up,
            live="/api/decisions/live?" + urlencode({**chosen, "after": newest}) if before is None else "",
            most=ROWS,
        )

    async def decision(self, asked: Asked) -> str:
        """One decision; with what was kept of its content, if that was asked for."""
        frame = self.frame(asked.session, asked.sessions, "decisions")
        if self._records is None:
            return self._pages.draw("no_audit.html", **frame)
        decision_id = asked.query.get("id", "")
        if not decision_id.isascii() or not 0 < len(decision_id) <= _MAX_ID:
            raise Refused(404, "There is no such decision.")
        with_content = asked.query.get("content") == "shown"
        return await self._threads.run(self._draw_decision, frame, decision_id, with_content)

    def _draw_decision(self, frame: dict[str, Any], decision_id: str, with_content: bool) -> str:
        assert self._records is not None
        record, others = self._records.decision(decision_id.strip())
        if record is None:
            raise Refused(404, "There is no such decision on record (any more).")
        content: dict[str, Any] | None = None
        if with_content:
            content = self._records.content(record)
            log.info("content_shown", decision_id=record["decision_id"])
        return self._pages.draw(
            "decision.html",
            **frame,
            record=record,
            row=row(record),
            bars=bars(record, (content or {}).get("rationales")),
            others=[row(other) for other in others],
            with_content=with_content,
            content=content,
            show_content=f"{row(record).href}&content=shown",
        )

    async def live(self, asked: Asked) -> web.StreamResponse:
        """Rows as they come, as server-sent events."""
        if self._records is None or self._live is None:
            raise Refused(404, "Without `audit:` in the configuration nothing is on record.")
        wanted = _filter({name: asked.query.get(name, "") for name in _FILTERS})
        after = number_of(asked.request.headers.get("Last-Event-ID", "")) or asked.number("after") or 0
        headers = {**HEADERS, "Content-Type": "text/event-stream; charset=utf-8"}
        response = web.StreamResponse(headers=headers)
        if asked.request.method == "HEAD":
            return response
        with self._live.watch(wanted) as watcher:
            async with self._catching_up:
                missed = await self._threads.run(self._records.newer, wanted, after, ROWS)
            await response.prepare(asked.request)  # from here on there is no other answer
            await write(response, b": here\n\n" + b"".join(self._live.event(record) for record in reversed(missed)))
            while not watcher.is_over and asked.sessions.is_valid(asked.session):
                await write(response, await watcher.next(KEEP_ALIVE_S))
        return response

    # ------------------------------------------------------------------ policies

    async def policies(self, asked: Asked) -> str:
        """All policies."""
        frame = self.frame(asked.session, asked.sessions, "policies")
        return await self._threads.run(self._policies.draw_list, self._look(), frame)

    async def policy(self, asked: Asked) -> str:
        """One policy: its texts, and where its scores lie."""
        frame = self.frame(asked.session, asked.sessions, "policies")
        self._forget_later()
        return await self._threads.run(self._policies.draw_one, self._look(), frame, dict(asked.query))

    async def what_if(self, asked: Asked) -> str:
        """What other thresholds would have changed: a piece of the policy's page."""
        self._forget_later()
        return await self._threads.run(self._policies.draw_what_if, self._look(), dict(asked.query))

    def _forget_later(self) -> None:
        if self._records is not None:
            asyncio.get_running_loop().call_later(SAMPLE_S * 2, self._records.forget)

    # ------------------------------------------------------------------ review

    def _review(self) -> ReviewPages:
        if self._reviews is None:
            raise Refused(404, "The configuration has no review queue.")
        return self._reviews

    async def review(self, asked: Asked) -> str:
        """What waits for people, and one of it to be looked at."""
        frame = self.frame(asked.session, asked.sessions, "review")
        reviewer = reviewer_of(asked.request.headers.get("Cookie", ""))
        return await self._threads.run(self._review().draw, frame, dict(asked.query), reviewer)

    async def say(self, asked: Asked, form: Mapping[str, str]) -> web.StreamResponse:
        """Somebody has said something about an item."""
        answer = see(await self._threads.run(self._review().say, dict(form)))
        remember_reviewer(answer, form.get("reviewer", ""))
        return answer

    async def exceptions(self, asked: Asked) -> str:
        """The exceptions that apply."""
        frame = self.frame(asked.session, asked.sessions, "review")
        reviewer = reviewer_of(asked.request.headers.get("Cookie", ""))
        return await self._threads.run(self._review().draw_exceptions, frame, reviewer)

    async def revoke(self, asked: Asked, form: Mapping[str, str]) -> web.StreamResponse:
        """Somebody takes an exception back."""
        answer = see(await self._threads.run(self._review().revoke, dict(form)))
        remember_reviewer(answer, form.get("reviewer", ""))
        return answer

    # ------------------------------------------------------------------ the service

    async def guards(self, asked: Asked) -> str:
        """How guards are."""
        frame = self.frame(asked.session, asked.sessions, "guards")
        guards = self._guards.look(self._look().engines)
        return await self._threads.run(lambda: self._pages.draw("guards.html", **frame, guards=guards))

    async def configuration(self, asked: Asked) -> str:
        """What judges, since when, and what has become of changes."""
        frame = self.frame(asked.session, asked.sessions, "configuration")
        loaded, reloads, audit = self._look(), self._reloads, self._audit
        shown: dict[str, Any] = {
            "revision": loaded.configuration,
            "policy_set": loaded.revision,
            "routes": [(r.config.name, r.policy_set, r.keep.value) for r in loaded.routes],
            "last_at": reloads.last_at,
            "last_error": reloads.last_error,
            "counts": {outcome.value: n for outcome, n in reloads.counts.items()},
            "audit": audit
            and {"healthy": audit.healthy, "last_error": audit.last_error, "failed": audit.counts.failed},
        }
        return await self._threads.run(lambda: self._pages.draw("configuration.html", **frame, **shown))


def _filter(given: Mapping[str, str]) -> Filter:
    """Which decisions are wanted.

    Raises:
        Refused: There is no such stage or action.
    """
    for name, known in (("stage", list(Stage)), ("action", [a.word for a in Action])):
        if given[name] and given[name] not in known:
            raise Refused(400, f"{name} must be one of {', '.join(known)}.")
    route, region, policy, action, stage = (given[name] or None for name in _FILTERS)
    return Filter(route=route, region=region, policy=policy, action=action, stage=stage)


def _choices(loaded: Loaded, given: Mapping[str, str]) -> dict[str, Sequence[str]]:
    """What can be chosen, where there is a choice; what was chosen by its address is always among it."""
    choices = {
        "route": [route.config.name for route in loaded.routes],
        "region": sorted({route.config.region for route in loaded.routes if route.config.region is not None}),
        "policy": sorted(loaded.policies),
        "action": [action.word for action in Action],
        "stage": [stage.value for stage in Stage],
    }
    every = {name: those + [v for v in [given[name]] if v and v not in those] for name, those in choices.items()}
    return {name: those for name, those in every.items() if those}
