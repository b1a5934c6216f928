"""Arbitrary streams through the whole way of one: codec, chunks, hold, detectors, and what the client gets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from proxy import records
from proxy.api import Asked
from proxy.chat import ChatApi
from proxy.errors import HttpError
from proxy.exchange import Exchange
from proxy.hold import Hold, StreamMode
from proxy.loading.drawing import load_config
from proxy.loading.loaded import LoadedRoute
from proxy.relay import Relay
from proxy.sse import DONE, KEEP_ALIVE, EventDecoder, encode_event
from proxy.stream_relay import StreamRelay
from proxy.upstream import Answer
from rules.decision import Decision
from rules.detectors import apply_edits, mask_edits
from rules.detectors.patterns import PatternDetector
from rules.policy import DEFAULT_REFUSAL_TEXT
from rules.rule import Action, Rule, Stage
from rules.screen import Screener
from tests.fakes import FakeEngine, text_rule

MARK = "ZQ-MARK-7781"
ASKED = Asked("chatcmpl-ours", "asked", n=2, stream=True, include_usage=True)

CONFIG = """
upstreams: {default: {base_url: demo}}
policies:
  marker: {detector: patterns, literals: ["ZQ-MARK-7781"]}
routes:
  - {name: refuse, match: {path: /refuse/v1/*}, upstream: default, output: [{policy: marker, refuse: 0.5}]}
  - {name: mask, upstream: default, output: [{policy: marker, rewrite: 0.5}]}
"""


DETECTOR = PatternDetector(literals=[MARK])


@dataclass(slots=True)
class FakeResponse:
    """Takes what would go to the client."""

    headers: dict[str, str] = field(default_factory=dict)
    prepared: bool = False
    writes: list[bytes] = field(default_factory=list)
    ended: bool = False

    async def prepare(self, request: object) -> None:
        assert not self.prepared
        self.prepared = True

    async def write(self, data: bytes) -> None:
        assert self.prepared
        assert not self.ended
        self.writes.append(data)

    async def write_eof(self) -> None:
        self.ended = True

    @property
    def body(self) -> bytes:
        return b"".join(w for w in self.writes if w != KEEP_ALIVE)


@cache
def route(folder: Path, name: str) -> LoadedRoute:
    path = folder / "config.yaml"
    path.write_text(CONFIG)
    return next(r for r in load_config(path, {}).routes if r.config.name == name)


async def segments(pieces: Sequence[bytes], *, breaks: bool = False) -> AsyncIterator[bytes]:
    for i, piece in enumerate(pieces):
        if i % 3 == 0:
            await asyncio.sleep(0)
        yield piece
    if breaks:
        raise HttpError(502, "bad_upstream_response", "broke off")


@dataclass(slots=True)
class Outcome:
    """What came of a stream."""

    status: int
    body: bytes
    exchange: Exchange
    hold: Hold
    writes: list[bytes] = field(default_factory=list)

    @property
    def output(self) -> Decision:
        return self.exchange.decisions[Stage.OUTPUT]


async def relayed(loaded: LoadedRoute, hold: Hold, pieces: Sequence[bytes]) -> Outcome:
    exchange = Exchange("/v1/chat/completions", records.Metrics(), route=loaded)
    relay = Relay(ChatApi(), exchange, cast("Any", None), loaded, cast("Any", None), set(), asked=ASKED)
    answer = Answer(200, "text/event-stream", {}, segments(pieces))
    response = FakeResponse()
    stream = ChatApi().new_stream(ASKED, hold, 1 << 20, None)
    sent = await StreamRelay(relay, answer, cast("Any", response)).run(stream)
    if response.prepared:
        assert response.ended
        return Outcome(200, response.body, exchange, hold, response.writes)
    assert isinstance(sent, web.Response)
    assert isinstance(sent.body, bytes)
    return Outcome(sent.status, sent.body, exchange, hold)


# ---------------------------------------------------------------------- streams that nobody would write


def text_chunk(index: Any, channel: str, piece: Any, **more: Any) -> bytes:
    choice = {"index": index, "delta": {channel: piece}, "finish_reason": None, **more}
    return encode_event(json.dumps({"id": MARK, "model": "m", "choices": [choice], "x": MARK}).encode())


WORDS = [
    "ZQ",
    "-",
    "MARK",
    "77",
    "81",
    "Z",
    "M",
    " ",
    "word ",
    MARK,
    MARK[:7],
    MARK[7:],
    "é",
    "😀",
    "İ",
    "a longer piece. ",
]
CHANNELS = ["content", "reasoning", "reasoning_content", "refusal"]
Piece = tuple[int, str, str]
"""Choice, channel, text."""
PIECES = st.tuples(st.integers(0, 1), st.sampled_from(CHANNELS), st.sampled_from(WORDS))
CONTENT = st.one_of(
    st.tuples(st.just(0), st.just("content"), st.sampled_from(WORDS)),
    st.tuples(st.just(1), st.sampled_from(CHANNELS), st.sampled_from(["word ", "é", " "])),
)


def marked(places: st.SearchStrategy[tuple[int, str]]) -> st.SearchStrategy[list[Piece | bytes]]:
    """A mark in two pieces, as a part of a word or by itself."""

    def parts(place: tuple[int, str], at: int, before: str, after: str) -> list[Piece | bytes]:
        return [(*place, before + MARK[:at]), (*place, MARK[at:] + after)]

    around = st.sampled_from(["", "", " ", "x" * 20])
    return st.builds(parts, places, st.integers(1, len(MARK) - 1), around, around)


def streams(pieces: st.SearchStrategy[Any], marks: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Piece | bytes]]:
    groups = st.one_of(pieces.map(lambda p: [p]), pieces.map(lambda p: [p]), marks)
    return st.lists(groups, max_size=30).map(lambda found: [p for group in found for p in group])


WINDOWS = st.sampled_from([1, 3, 8, 40])
OVERLAPS = st.sampled_from([len(MARK), len(MARK), 20, 40])
MODES = st.sampled_from([StreamMode.WINDOW, StreamMode.WINDOW, *StreamMode])
JUNK = st.sampled_from(
    [
        b": comment\n\n", b"\n\n", b"event: x\n\n", b"id: 1\r\nretry: 5\r\n\r\n",
        encode_event(b'{"choices":[]}'), encode_event(b'{"choices":[null,5],"usage":{"total_tokens":1}}'),
        encode_event(b'{"choices":[{"index":1,"delta":null,"message":{"content":"ZQ-MARK-7781"}}]}'),
        encode_event(b'{"choices":[{"index":0,"text":"ZQ-MARK-7781","delta":{"thinking":"ZQ-MARK-7781","content":5}}]}'),
        encode_event(b'{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}]}'),
    ]
)  # fmt: skip
FAULTS = [b"data: {broken\n\n", b"data: ZQ-MARK-7781\n\n", encode_event(b'{"error":{"message":"ZQ-MARK-7781"}}')]
CLOSING = b"".join(text_chunk(i, "content", "", finish_reason="stop") for i in range(2))
ENDS = st.sampled_from([encode_event(DONE.encode()), CLOSING, b"", *FAULTS])


def assembled(pieces: Sequence[Piece]) -> dict[tuple[int, str], str]:
    out: dict[tuple[int, str], str] = {}
    for index, channel, text in pieces:
        out[index, channel] = out.get((index, channel), "") + text
    return out


@dataclass(slots=True)
class Seen:
    """What a client has put together; every event must have one of the few shapes that there are."""

    texts: dict[tuple[int, str], str] = field(default_factory=dict)
    finished: dict[int, str] = field(default_factory=dict)
    error: str | None = None

    def without_refusal(self) -> dict[tuple[int, str], str]:
        return {
            key: text.removesuffix(DEFAULT_REFUSAL_TEXT) if key[1] == "content" else text
            for key, text in self.texts.items()
        }


def seen(body: bytes) -> Seen:
    out = Seen()
    decoder = EventDecoder(1 << 20)
    *events, last = list(decoder.feed(body))
    assert not decoder.has_unfinished
    assert last == DONE
    for data in events:
        event = json.loads(data)
        assert out.error is None
        if "error" in event:
            out.error = event["error"]["code"]
            continue
        assert (event["id"], event["object"]) == ("chatcmpl-ours", "chat.completion.chunk")
        assert set(event) <= {"id", "object", "created", "model", "choices", "usage"}
        for choice in event["choices"]:
            assert set(choice) <= {"index", "delta", "finish_reason"}
            assert set(choice["delta"]) <= {"role", "tool_calls", *CHANNELS}
            assert choice["index"] not in out.finished
            for channel in CHANNELS:
                if text := choice["delta"].get(channel):
                    key = (choice["index"], channel)
                    out.texts[key] = out.texts.get(key, "") + text
            if choice["finish_reason"] is not None:
                out.finished[choice["index"]] = choice["finish_reason"]
    return out


def cuts(data: st.DataObject, stream: bytes) -> list[bytes]:
    """The stream in segments: of one event mostly, of one byte, or wherever."""
    how = data.draw(st.sampled_from(["events", "events", "bytes", "anywhere"]))
    if how == "events":
        return [event + b"\n\n" for event in stream.split(b"\n\n")[:-1]]
    if how == "bytes":
        return [stream[i : i + 1] for i in range(len(stream))]
    at = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    return [stream[a:b] for a, b in pairwise([0, *at, len(stream)])]


@settings(max_examples=150)
@given(
    streams(st.one_of(PIECES, JUNK), marked(st.tuples(st.integers(0, 1), st.sampled_from(CHANNELS)))),
    ENDS,
    st.data(),
    st.sampled_from(list(StreamMode)),
)
def test_nothing_of_a_refused_mark_leaves_and_all_that_passes_is_the_text(
    tmp_path_factory: pytest.TempPathFactory,
    parts: list[Piece | bytes],
    end: bytes,
    data: st.DataObject,
    mode: StreamMode,
) -> None:
    stream = b"".join(p if isinstance(p, bytes) else text_chunk(*p) for p in parts) + end
    hold = Hold(mode, data.draw(WINDOWS), data.draw(OVERLAPS))
    loaded = route(tmp_path_factory.getbasetemp(), "refuse")
    got = asyncio.run(relayed(loaded, hold, cuts(data, stream)))
    texts = assembled([p for p in parts if not isinstance(p, bytes)])
    found = {key: spans for key, text in texts.items() if (spans := DETECTOR.find(text))}
    assume(all(s.end - s.start <= hold.overlap_chars for spans in found.values() for s in spans))
    if got.status == 400:
        assert json.loads(got.body)["error"]["code"] == "content_filter"
        assert mode is not StreamMode.DELIVER_FIRST or not any(texts.values())
        assert got.output.action is Action.REFUSE
        return
    client = seen(got.body)
    left = client.without_refusal()
    for key, text in left.items():
        assert texts.get(key, "").startswith(text)
        if mode is not StreamMode.DELIVER_FIRST and key in found:
            assert len(text) <= found[key][0].start
    if end in FAULTS or end == b"":
        assert client.finished == {} or set(client.finished.values()) == {"content_filter"}
        assert client.error in (None, "bad_upstream_response")
    elif client.error is not None:
        assert (client.error, texts) == ("bad_upstream_response", {})  # no choice at all
    elif found:
        assert set(client.finished.values()) == {"content_filter"}
    elif got.output.action is Action.FORWARD:
        assert client.error is None
        assert left == {key: text for key, text in texts.items() if text}
        assert set(client.finished.values()) <= {"stop"}


@settings(max_examples=150)
@given(
    streams(CONTENT, marked(st.just((0, "content")))),
    st.data(),
    st.sampled_from([StreamMode.BUFFER, StreamMode.WINDOW]),
)
def test_what_leaves_is_the_masked_text(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[Piece], data: st.DataObject, mode: StreamMode
) -> None:
    stream = b"".join(text_chunk(*p) for p in pieces) + CLOSING
    hold = Hold(mode, data.draw(WINDOWS), data.draw(OVERLAPS))
    got = asyncio.run(relayed(route(tmp_path_factory.getbasetemp(), "mask"), hold, cuts(data, stream)))
    texts = assembled(pieces)
    spans = {key: DETECTOR.find(text) for key, text in texts.items()}
    assume(all(s.end - s.start <= hold.overlap_chars for found in spans.values() for s in found))
    assume(len({texts[key][s.start : s.end] for key, found in spans.items() for s in found}) <= 1)
    masked = {key: apply_edits(text, mask_edits(text, spans[key], {})) for key, text in texts.items()}
    assert seen(got.body) == Seen(masked, {0: "stop", 1: "stop"})


# ---------------------------------------------------------------------- a guard that answers when it likes


@dataclass(slots=True)
class SlowGuard(FakeEngine):
    """Answers after as many turns of the event loop as its script says."""

    turns: Sequence[int] = ()
    asked: int = 0
    running: int = 0

    async def judge(self, passages: Any, policies: Any, *, deadline: float) -> Any:
        self.running += 1
        assert self.running == 1, "one window at a time: no verdict can overtake another"
        for _ in range(self.turns[self.asked % len(self.turns)] if self.turns else 0):
            await asyncio.sleep(0)
        self.asked += 1
        self.running -= 1
        shown = "".join(p.text for p in passages if not p.context)
        return await FakeEngine(script={"p": 1.0 if MARK in shown else 0.0}).judge(
            passages, policies, deadline=deadline
        )


def guarded(folder: Path, rules: tuple[Rule, ...], engines: Mapping[str, Any]) -> LoadedRoute:
    return replace(route(folder, "refuse"), output=Screener(Stage.OUTPUT, rules, engines))


@settings(max_examples=60)
@given(st.lists(st.integers(0, 60), max_size=8), st.integers(0, 3), st.data())
def test_however_late_verdicts_come_what_leaves_was_judged(
    tmp_path_factory: pytest.TempPathFactory, turns: list[int], where: int, data: st.DataObject
) -> None:
    words = ["the tide turns twice a day "] * 12
    words[where * 4 : where * 4] = MARK
    stream = b"".join(text_chunk(0, "content", w) for w in words) + CLOSING
    hold = Hold(StreamMode.WINDOW, 40, 20)
    rule = text_rule("p", refuse=0.5)
    loaded = guarded(tmp_path_factory.getbasetemp(), (rule,), {rule.guards[0]: SlowGuard(turns=turns)})
    got = asyncio.run(relayed(loaded, hold, cuts(data, stream)))
    assert got.output.action is Action.REFUSE
    if got.status == 200:
        left = seen(got.body).without_refusal().get((0, "content"), "")
        assert len(left) <= "".join(words).index(MARK)


class Raises:
    """A detector that fails once it sees a word."""

    def find(self, text: str) -> list[Any]:
        if "second" in text:
            raise RuntimeError
        return []


@pytest.mark.parametrize("mode", list(StreamMode))
def test_a_detector_that_raises_midway_ends_the_stream_with_an_error(tmp_path: Path, mode: StreamMode) -> None:
    rule = text_rule("p", refuse=0.5)
    rule = replace(rule, policy=replace(rule.policy, detector=Raises()), guards=())
    pieces = [text_chunk(0, "content", "the tide turns. ") for _ in range(20)]
    pieces += [text_chunk(0, "content", "the second tide. "), CLOSING]
    loaded = guarded(tmp_path, (rule,), {})
    if mode is StreamMode.BUFFER:
        with pytest.raises(HttpError) as caught:
            asyncio.run(relayed(loaded, Hold(mode, 40, 20), pieces))
        assert caught.value.code == "guard_unavailable"
        return
    got = asyncio.run(relayed(loaded, Hold(mode, 40, 20), pieces))
    client = seen(got.body)
    assert client.error == "guard_unavailable"
    if mode is StreamMode.WINDOW:
        assert "second" not in client.texts[0, "content"]


@pytest.mark.parametrize(
    ("window", "overlap"), [(1, 0), (1, 500), (3, 12), (400, 0), (10, 5000), (100_000, 200)], ids=str
)
def test_odd_sizes_change_nothing_about_what_passes(tmp_path: Path, window: int, overlap: int) -> None:
    text = "the tide turns twice a day. " * 40
    for pieces in ([text], [text[i : i + 9] for i in range(0, len(text), 9)]):
        stream = [text_chunk(0, "content", p) for p in pieces] + [CLOSING]
        for mode in StreamMode:
            got = asyncio.run(relayed(route(tmp_path, "refuse"), Hold(mode, window, overlap), stream))
            assert seen(got.body).texts == {(0, "content"): text}


def test_a_long_stream_of_single_characters_takes_time_in_proportion(tmp_path: Path) -> None:
    """Counted in what the detector is shown, which is what a guard is paid for."""
    shown = 0

    class Counts:
        def find(self, text: str) -> list[Any]:
            nonlocal shown
            shown += len(text)
            return []

    rule = text_rule("p", refuse=0.5)
    rule = replace(rule, policy=replace(rule.policy, detector=Counts()), guards=())
    text = "the tide turns. " * 1000
    stream = [text_chunk(0, "content", c) for c in text] + [CLOSING]
    asyncio.run(relayed(guarded(tmp_path, (rule,), {}), Hold(StreamMode.WINDOW, 400, 200), stream))
    # half a window (nothing was near), the overlap twice, and the whole at the end
    assert shown < len(text) * (200 + 2 * 200 + 64) / 200 + len(text) * 1.1
