"""Sends a streamed answer on as its verdicts allow: reads, judges and writes at the same time.

`proxy.hold` says what is to be judged and how much may leave, the endpoint's `proxy.api.AnswerStream` how it looks on the
wire. Here are the waiting, the comments that a client hears meanwhile, and the ways in which a stream can end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import web

from proxy import sse
from proxy.api import AnswerStream, StreamFault
from proxy.errors import HttpError, audit_unavailable, bad_upstream, guard_unavailable, review_unavailable
from proxy.exchange import Judged, Screened, judge, put_texts, refused
from proxy.hold import Check, StreamMode, TooLate
from proxy.server import write
from proxy.upstream import Answer
from rules.content import Content
from rules.decision import Cause, Decision
from rules.rewrite import Masker, edited_texts
from rules.rule import Action

if TYPE_CHECKING:
    from proxy.relay import Relay

T = TypeVar("T")

KEEP_ALIVE_S = 1.0
"""While nothing may leave, the client hears a comment this often; the first one begins the answer."""

_UNAVAILABLE = (guard_unavailable().code, audit_unavailable().code, review_unavailable().code)
"""What is an answer of its own as long as nothing was sent."""


class _Stop(Exception):
    """The stream ends here: a refusal, or a guard that could not decide."""

    def __init__(self, decision: Decision) -> None:
        self.decision = decision


@dataclass(slots=True)
class StreamRelay:
    """The way of one streamed answer; see the top of the file."""

    relay: Relay
    upstream: Answer
    response: web.StreamResponse = field(default_factory=web.StreamResponse)
    _draft: Masker = field(default_factory=Masker, repr=False)
    """Numbers the masks of the check under way."""

    async def run(self, stream: AnswerStream) -> web.StreamResponse:
        """Send on a stream of the upstream.

        Raises:
            HttpError: There is no answer, and nothing was sent yet.
        """
        try:
            async with _Tasks() as tasks:
                await self._pass_on(stream, tasks)
                out = await self._last(stream, tasks)
        except _Stop as stop:
            if not self.response.prepared:
                early = self.relay.refusal(stop.decision, stream.answer().get("usage"))
                assert early is not None
                return early
            out = self._cut(stop.decision, stream)
        except StreamFault:
            out = self._fault(bad_upstream(), stream)
        except HttpError as e:
            if not self.response.prepared and e.code in _UNAVAILABLE:
                raise
            out = self._fault(e, stream)
        return await self._end(out, stream)

    async def run_whole(self) -> web.StreamResponse:
        """Send on, as a stream, an answer that the upstream did not stream.

        Raises:
            HttpError: There is no answer, and nothing was sent yet.
        """
        relay = self.relay
        try:
            async with _Tasks() as tasks:
                screened: Screened = await self._wait(tasks.start("whole", relay.read_whole(self.upstream)))
        except HttpError as e:
            if not self.response.prepared:
                raise
            out = self._fault(e)
        else:
            usage = screened.body.get("usage")
            relay.notes()
            if screened.decision.action is not Action.REFUSE:
                out = relay.api.as_stream(relay.asked, screened.body)
            elif not self.response.prepared:
                early = relay.refusal(screened.decision, usage)
                assert early is not None
                return early
            elif screened.decision.cause is Cause.UNDECIDED:
                out = self._fault(guard_unavailable())
            else:
                text = relay.exchange.refusal_text(screened.decision)
                out = relay.api.refusal_stream(relay.asked, text, usage)
        return await self._end(out)

    # ------------------------------------------------------------------ while it comes

    async def _pass_on(self, stream: AnswerStream, tasks: _Tasks) -> None:
        """Read to the end; in the modes that do not hold everything, send on what verdicts let go."""
        hold = stream.hold
        decoder = sse.EventDecoder(self.relay.route.config.max_event_bytes)
        reading: asyncio.Task[bool] | None = None
        checking: asyncio.Task[Judged] | None = None
        check: Check | None = None
        is_over = False
        while not is_over or checking is not None:
            if reading is None and not is_over and not (checking is not None and hold.must_wait):
                reading = tasks.start("read", _read(self.upstream.segments, decoder, stream))
            under_way: set[asyncio.Task[Any]] = {t for t in (reading, checking) if t is not None}
            done, _ = await asyncio.wait(under_way, timeout=KEEP_ALIVE_S, return_when=asyncio.FIRST_COMPLETED)
            if checking is not None and checking in done:
                assert check is not None
                await self._send(stream, self._passed(stream, check, checking.result()))
                checking = None
            if reading is not None and reading in done:
                is_over = reading.result()
                reading = None
                await self._send(stream, hold.at_once())
            is_idle = not done and hold.mode is not StreamMode.BUFFER and hold.unjudged > 0
            if checking is None and not is_over and (hold.wants_verdict or is_idle):
                check = hold.check()
                checking = tasks.start("check", self._judge(check))
            if not done:
                await self._write(sse.KEEP_ALIVE)
        if not stream.is_whole:
            raise StreamFault("the stream ended without its end")

    def _judge(self, check: Check) -> Coroutine[Any, Any, Judged]:
        relay = self.relay
        self._draft = relay.exchange.masker.draft()
        return judge(relay.route.output, check.content, relay.context, self._draft)

    def _passed(self, stream: AnswerStream, check: Check, judged: Judged) -> list[tuple[Hashable, str]]:
        """What leaves after a verdict about a window.

        Raises:
            _Stop: Nothing does.
        """
        decision = judged.decision
        if decision.action is not Action.REFUSE:
            try:
                stream.hold.adapt(decision)
                pieces = stream.hold.passed(check, judged.edits)
            except TooLate:
                decision = refused(decision)
            else:
                masker = self.relay.exchange.masker
                masker.keep(self._draft, (text for _, text in pieces))
                if judged.edits:
                    self.relay.restoration.narrow(masker.originals)
                self.relay.exchange.noted(decision, judged.seconds, judged.content)
                return pieces
        self.relay.exchange.decided(self.relay.route.output.stage, decision, judged.seconds, judged.content)
        raise _Stop(decision)

    async def _last(self, stream: AnswerStream, tasks: _Tasks) -> bytes:
        """The last verdict, over the whole answer, and what leaves after it.

        Raises:
            _Stop: The rest does not leave.
        """
        relay = self.relay
        body, content, _ = relay.clean_answer(stream.answer(), stream.hold.unjudged_loose)
        judged = await self._wait(tasks.start("judge", self._judge_whole(content)))
        relay.shadow(relay.route.output, content, relay.context)
        decision = judged.decision
        paths = stream.channel_paths()
        sent = {path: stream.hold.channels[key].sent for path, key in paths.items()}
        for i, edits in judged.edits.items():
            if any(edit.start < sent.get(content.leaves[i].path, 0) for edit in edits):
                decision = refused(decision)
        relay.exchange.decided(relay.route.output.stage, decision, judged.seconds, judged.content)
        if decision.action is Action.REFUSE:
            raise _Stop(decision)
        put_texts(body, edited_texts(content, judged.edits))
        relay.restoration.narrow(relay.exchange.masker.originals)
        rest: dict[Hashable, str] = {}
        is_changed = bool(judged.edits)
        for path, key in paths.items():
            text: Any = body
            for step in path:
                text = text[step]
            rest[key] = relay.restoration.last_piece(key, text[sent[path] :])
            is_changed |= relay.restoration.text(text) != text
        if relay.restoration.into_answer(body, content, paths.keys()) or is_changed:
            relay.api.without_details(body)  # they could spell, in their alternatives, what was masked
        relay.notes()
        return stream.ending(body, rest)

    async def _judge_whole(self, content: Content) -> Judged:
        relay = self.relay
        judged = await judge(relay.route.output, content, relay.context, relay.exchange.masker)
        return await relay.exchange.held(judged, relay.route.output)

    # ------------------------------------------------------------------ how it ends

    def _cut(self, decision: Decision, stream: AnswerStream) -> bytes:
        if decision.cause is Cause.UNDECIDED:
            return self._fault(guard_unavailable(), stream)
        self.relay.notes()
        return stream.refusal(self.relay.exchange.refusal_text(decision))

    async def _end(self, out: bytes, stream: AnswerStream | None = None) -> web.StreamResponse:
        """Send the last piece, once what it follows from is on record.

        Raises:
            HttpError: It cannot be put on record, and nothing was sent yet.
        """
        exchange = self.relay.exchange
        try:
            await exchange.answers(200, exchange.fault)
        except HttpError as e:
            if not self.response.prepared:
                raise
            out = self._fault(e, stream)
        await self._write(out)
        await self.response.write_eof()
        return self.response

    def _fault(self, error: HttpError, stream: AnswerStream | None = None) -> bytes:
        self.relay.exchange.refused_locally = True
        self.relay.exchange.fault = error.code
        return (stream or self.relay.api).error_stream(error.body())

    # ------------------------------------------------------------------ waiting and writing

    async def _wait(self, task: asyncio.Task[T]) -> T:
        while not (await asyncio.wait({task}, timeout=KEEP_ALIVE_S))[0]:
            await self._write(sse.KEEP_ALIVE)
        return task.result()

    async def _send(self, stream: AnswerStream, pieces: list[tuple[Hashable, str]]) -> None:
        restored = [(key, self.relay.restoration.piece(key, text)) for key, text in pieces]
        if out := b"".join(stream.text(key, text) for key, text in restored if text):
            await self._write(out)

    async def _write(self, data: bytes) -> None:
        if not self.response.prepared:
            await self.relay.exchange.releases(self.relay.route.output.stage)
            headers = {**self.upstream.headers, **self.relay.exchange.headers(), **sse.HEADERS}
            self.response.headers.update(headers)
            await self.response.prepare(self.relay.request)
        else:
            await self.relay.exchange.flagged(self.relay.route.output.stage)
        await write(self.response, data)


class _Tasks:
    """Tasks that end with the block, whatever happens in it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task; the caller awaits it or leaves the block."""
        task = asyncio.create_task(work, name=name)  # noqa: TID251 - ended by the block, below
        self._tasks.add(task)
        task.add_done_callback(self._over)
        return task

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen: whoever still waits for the task gets it, for the others the stream is over

    async def __aenter__(self) -> _Tasks:
        return self

    async def __aexit__(self, *exc: object) -> None:
        left = set(self._tasks)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)


async def _read(segments: AsyncIterator[bytes], decoder: sse.EventDecoder, stream: AnswerStream) -> bool:
    """Read until there is something to do; whether the stream is over."""
    hold = stream.hold
    try:
        async for segment in segments:
            for data in decoder.feed(segment):
                stream.event(data)
                if stream.done:
                    return True
            if hold.wants_verdict or hold.has_news:
                return False
    except sse.EventTooLarge:
        raise StreamFault("an event is larger than max_event_bytes") from None
    return True


async def read_to_end(stream: AnswerStream, answer: Answer, max_event_bytes: int) -> None:
    """Read a stream that is not sent on as one.

    Raises:
        StreamFault: It cannot be read or is not whole.
    """
    decoder = sse.EventDecoder(max_event_bytes)
    while not await _read(answer.segments, decoder, stream):
        pass
    if not stream.is_whole:
        raise StreamFault("the stream ended without its end")
