"""Server-sent events (WHATWG HTML, section 9.2.6)."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.sse import DONE, DONE_EVENT, KEEP_ALIVE, EventDecoder, EventTooLarge, encode_event
from proxy.strict_json import dump_json

CAP = 10_000


def events(*segments: bytes, cap: int = CAP) -> list[str]:
    decoder = EventDecoder(cap)
    return [data for segment in segments for data in decoder.feed(segment)]


def bytewise(stream: bytes, cap: int = CAP) -> list[str]:
    return events(*(stream[i : i + 1] for i in range(len(stream))), cap=cap)


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        pytest.param(b"data: a\n\ndata: b\n\n", ["a", "b"], id="F01-lf"),
        pytest.param(b"data: a\r\n\r\ndata: b\r\n\r\n", ["a", "b"], id="F01-crlf"),
        pytest.param(b"data: a\r\rdata: b\r\r", ["a", "b"], id="F01-cr"),
        pytest.param(b"data: a\r\n\ndata: b\n\r\ndata: c\r\r\n", ["a", "b", "c"], id="F01-mixed"),
        pytest.param(b"data: a\ndata: b\n\n", ["a\nb"], id="F02-several-data-lines"),
        pytest.param(b"data: a\ndata\ndata:\n\n", ["a\n\n"], id="F02-empty-data-lines"),
        pytest.param(b"data:a\n\n", ["a"], id="F03-no-space"),
        pytest.param(b"data:  a \n\n", [" a "], id="F03-one-space-is-removed"),
        pytest.param(b"data:\ta\n\n", ["\ta"], id="F03-a-tab-stays"),
        pytest.param(b"DATA: a\n\n", [], id="F03-capitals-are-another-field"),
        pytest.param(b" data: a\n\n", [], id="F03-leading-space-is-another-field"),
        pytest.param(b"data : a\n\n", [], id="F03-space-before-the-colon-is-another-field"),
        pytest.param(b": comment\n\ndata: a\n: more\n\n", ["a"], id="F04-comments"),
        pytest.param(b"event: error\nid: 1\nretry: 5\ndata: a\n\n", ["a"], id="F04-other-fields"),
        pytest.param(b"event: ping\n\ndata: a\n\n", ["a"], id="F04-event-without-data-is-none"),
        pytest.param(b"\xef\xbb\xbfdata: a\n\n", ["a"], id="F05-first-mark-is-ignored"),
        pytest.param(b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", [], id="F05-second-mark-is-text"),
        pytest.param(b"data: a\n\n\xef\xbb\xbfdata: b\n\n", ["a"], id="F05-later-mark-is-text"),
        pytest.param(b"\n\xef\xbb\xbfdata: a\n\n", [], id="F05-mark-after-a-line"),
        pytest.param(b"data: a\n\ndata: b", ["a"], id="F06-cut-in-a-line"),
        pytest.param(b"data: a\n\ndata: b\n", ["a"], id="F06-cut-before-the-blank-line"),
        pytest.param("data: \N{GRINNING FACE}é\n\n".encode(), ["\N{GRINNING FACE}é"], id="F07-characters"),
        pytest.param(b"data: ZQ-\xffMARK\n\n", ["ZQ-\ufffdMARK"], id="F07-invalid-bytes-are-marked"),
        pytest.param(b"data: [DONE]\n\n", [DONE], id="F09-done"),
        pytest.param(b"data: [DONE] \n\n", ["[DONE] "], id="F09-done-is-exact"),
        pytest.param("data: a\u2028b\u0085c\n\n".encode(), ["a\u2028b\u0085c"], id="F15-only-cr-and-lf-end-lines"),
        pytest.param(b"data: a\x0bb\x0cc\n\n", ["a\x0bb\x0cc"], id="F15-form-feed-ends-no-line"),
        pytest.param(b"\n\n\r\n\r\r", [], id="blank-lines-are-nothing"),
        pytest.param(b"", [], id="empty"),
    ],
)
def test_a_stream_is_read_as_the_standard_says_however_it_is_cut(stream: bytes, expected: list[str]) -> None:
    assert events(stream) == expected
    assert bytewise(stream) == expected


_LINES = st.lists(
    st.tuples(
        st.sampled_from([b"data: ", b"data:", b"data", b": c", b"event: x", b"\xef\xbb\xbf", "data: é\N{GRINNING FACE}".encode(), b"", b"", b"\xff", b"x" * 9]),
        st.binary(max_size=6),
        st.sampled_from([b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n"]),
    ),
    max_size=12,
).map(lambda parts: b"".join(a + b + c for a, b, c in parts))  # fmt: skip


@given(_LINES, st.data(), st.sampled_from([8, 16, 40, CAP]))
def test_any_segmentation_gives_the_same_events_and_the_same_fault(
    stream: bytes, draw: st.DataObject, cap: int
) -> None:
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    bounds = [0, *cuts, len(stream)]
    segments = [stream[a:b] for a, b in pairwise(bounds)]

    def run(pieces: list[bytes]) -> tuple[list[str], bool]:
        decoder, out = EventDecoder(cap), []
        try:
            for piece in pieces:
                out += list(decoder.feed(piece))
        except EventTooLarge:
            return [], True
        return out, False

    assert run(segments) == run([stream]) == run([stream[i : i + 1] for i in range(len(stream))])


def by_the_book(stream: bytes) -> list[str]:
    """The standard's steps, over the whole stream at once (WHATWG HTML, section 9.2.6)."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    *lines, _ = re.split("\r\n|\n|\r", text)
    out: list[str] = []
    data: list[str] = []
    for line in lines:
        if not line and data:
            out.append("\n".join(data))
            data = []
        name, _, value = line.partition(":")
        if name == "data":
            data.append(value.removeprefix(" "))
    return out


@given(_LINES, st.integers(1, 7))
def test_any_stream_is_read_by_the_book(stream: bytes, size: int) -> None:
    assert events(*(stream[i : i + size] for i in range(0, len(stream), size))) == by_the_book(stream)


def test_an_endless_line_is_a_fault_before_it_fills_the_memory() -> None:
    with pytest.raises(EventTooLarge):
        events(*[b"data: " + b"x" * 100] * CAP)


def test_many_short_data_lines_of_one_event_are_a_fault_too() -> None:
    with pytest.raises(EventTooLarge):
        events(*[b"data: xxxx\n"] * CAP)


def test_empty_data_lines_count_too() -> None:
    with pytest.raises(EventTooLarge):
        events(*[b"data\n"] * CAP)


def test_the_limit_is_for_one_event_not_for_the_stream() -> None:
    assert len(events(*[b"data: " + b"x" * 900 + b"\n\n"] * 100, cap=1000)) == 100


@pytest.mark.parametrize("idle", [b": ping\n", b": ping\n\n", b"\n", b"\r", b"\r\n", b"event: x\n\n", b"id: 1\n"])
def test_what_stands_between_events_counts_towards_the_next(idle: bytes) -> None:
    assert events(*[idle * 10, b"data: a\n\n"] * 100, cap=120) == ["a"] * 100
    with pytest.raises(EventTooLarge):
        events(*[idle] * (CAP + 1))
    with pytest.raises(EventTooLarge):
        events(idle * (CAP + 1))


class Counting(bytearray):
    """Knows how many bytes were searched."""

    n_searched = 0

    def find(self, wanted: Any, start: Any = 0, end: Any = None) -> int:
        stop = len(self) if end is None else end
        found = super().find(wanted, start, stop)
        self.n_searched += (stop if found < 0 else found + 1) - start
        return found


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n", b"\r\r\n", b"\n\r"])
@pytest.mark.parametrize("line", [b"", b"data", b": c"])
@pytest.mark.parametrize("n_pieces", [1, 100])
def test_no_byte_is_searched_more_than_a_few_times(end: bytes, line: bytes, n_pieces: int) -> None:
    buffer = Counting()
    decoder = EventDecoder(1 << 20, _buffer=buffer)
    piece = (line + end) * (20_000 // n_pieces)
    for _ in range(n_pieces):
        list(decoder.feed(piece))
    assert buffer.n_searched <= 3 * n_pieces * len(piece)


def test_a_large_event_below_the_limit_is_whole() -> None:
    text = "y" * 600_000
    assert events(*[encode_event(text.encode())], cap=1 << 20) == [text]


def test_an_unfinished_event_is_known() -> None:
    decoder = EventDecoder(CAP)
    list(decoder.feed(b"data: a\n\n"))
    assert not decoder.has_unfinished
    list(decoder.feed(b"data: b\n"))
    assert decoder.has_unfinished


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_no_text_can_leave_its_event(text: str) -> None:
    wire = encode_event(dump_json({"content": text}))
    assert wire.count(b"\n") == 2
    assert b"\r" not in wire
    assert len(events(wire)) == 1


def test_what_we_send_besides_reads_as_done_and_as_nothing() -> None:
    assert events(DONE_EVENT) == [DONE]
    assert events(KEEP_ALIVE) == []
