"""What a client sees of one answer, reduced to what `safeguard doctor` judges. No I/O.

The reading is that of real clients: an SDK looks at the content type first, a stream ends at ``[DONE]``, an event with a
name is parsed as if it were a chunk. Text is kept for comparisons only; it is in no repr and in no record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from proxy import sse

MAX_BODY_BYTES = 1 << 20
"""Answers to the probes are short; a gateway that sends more than this is not read on."""

_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_EVENT_NAME = re.compile(rb"(?:^|[\r\n])event: ?+(?![\r\n]|message[\r\n])")
"""``message`` is what an event is called that has no name (WHATWG HTML, section 9.2.6)."""

_LITELLM_PREFIX = "llm_provider-"
"""What LiteLLM's proxy puts before the names of an upstream's headers (seen with 1.x)."""


class Kind(StrEnum):
    """What a body is, by its content type and by being readable as that."""

    JSON = "json"
    SSE = "sse"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class ErrorSeen:
    """The words of an OpenAI error object; its message is kept for comparison only."""

    code: str | None = None
    type: str | None = None
    inner_code: str | None = None
    message: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class StreamSeen:
    """Properties of an event stream, each of which some client depends on."""

    first_has_choice: bool = False
    first_has_role: bool = False
    has_done: bool = False
    has_data_after_done: bool = False
    has_named_events: bool = False
    has_unreadable: bool = False
    """Data that is not a JSON object, or an event that the stream ended within."""


@dataclass(frozen=True, slots=True)
class Counted:
    """How often safeguard says that it judged a request while one probe was under way (from ``/metrics``)."""

    judged: int
    refused: int


@dataclass(frozen=True, slots=True)
class ClientView:
    """One answer.

    Attributes:
        status: HTTP status; 0 if there was none.
        fault: Why the answer is not whole, in plain words; None if it is.
        decision: ``x-safeguard-decision``, also under the name that LiteLLM gives it.
        policy_set: ``x-safeguard-policy-set``: the same for two answers of one route.
        text: What the choices say, put together.
        counted: None without access to the metrics.
    """

    status: int
    kind: Kind = Kind.JSON
    fault: str | None = None
    decision: str | None = None
    has_decision_id: bool = False
    policy_set: str | None = None
    has_renamed_headers: bool = False
    should_retry: str | None = None
    error: ErrorSeen | None = None
    finish_reasons: tuple[str, ...] = ()
    text: str = field(default="", repr=False)
    stream: StreamSeen | None = None
    counted: Counted | None = None
    first_byte_s: float = 0.0
    total_s: float = 0.0

    def record(self) -> dict[str, Any]:
        """What may be printed: words and numbers, no content."""
        error = self.error or ErrorSeen()
        record: dict[str, Any] = {
            "status": self.status,
            "body": self.kind.value,
            "decision": self.decision,
            "code": error.code,
            "innererror_code": error.inner_code,
            "finish_reasons": sorted(set(self.finish_reasons)),
            "first_byte_ms": round(self.first_byte_s * 1000, 1),
            "total_ms": round(self.total_s * 1000, 1),
        }
        if self.fault is not None:
            record["fault"] = self.fault
        if self.counted is not None:
            record["judged"], record["refused"] = self.counted.judged, self.counted.refused
        return record


def view_answer(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    fault: str | None = None,
    counted: Counted | None = None,
    first_byte_s: float = 0.0,
    total_s: float = 0.0,
) -> ClientView:
    """Read an answer the way a client does.

    Args:
        status: HTTP status.
        headers: Names in lower case.
        body: As far as it came.
        fault: Set if the answer is not whole.
        counted: What the metrics said.
        first_byte_s: From the request to the first byte of the body.
        total_s: From the request to the end.
    """
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    kind = Kind.OTHER
    objects: list[dict[str, Any]] = []
    stream: StreamSeen | None = None
    if content_type == "text/event-stream":
        kind = Kind.SSE
        objects, stream = _read_stream(body)
    elif content_type == "application/json" and (found := _parse(body)) is not None:
        kind, objects = Kind.JSON, [found]
    ours, is_renamed = _ours(headers)
    choices = [c for o in objects for c in _dicts(o.get("choices"))]
    said = [m.get("content") for c in choices for key in ("message", "delta") for m in _dicts([c.get(key)])]
    return ClientView(
        status=status,
        kind=kind,
        fault=fault,
        decision=_word(ours.get("x-safeguard-decision")),
        has_decision_id="x-safeguard-decision-id" in ours,
        policy_set=_word(ours.get("x-safeguard-policy-set")),
        has_renamed_headers=is_renamed,
        should_retry=_word(headers.get("x-should-retry")),
        error=next((_error(o["error"]) for o in objects if o.get("error") is not None), None),
        finish_reasons=tuple(word for c in choices if (word := _word(c.get("finish_reason"))) is not None),
        text="".join(text for text in said if isinstance(text, str)),
        stream=stream,
        counted=counted,
        first_byte_s=first_byte_s,
        total_s=total_s,
    )


def _ours(headers: Mapping[str, str]) -> tuple[Mapping[str, str], bool]:
    """The headers that hold safeguard's, by their own names, and whether they were renamed."""
    if "x-safeguard-decision" in headers:
        return headers, False
    renamed = {k.removeprefix(_LITELLM_PREFIX): v for k, v in headers.items() if k.startswith(_LITELLM_PREFIX)}
    return renamed, "x-safeguard-decision" in renamed


def _read_stream(body: bytes) -> tuple[list[dict[str, Any]], StreamSeen]:
    decoder = sse.EventDecoder(2 * MAX_BODY_BYTES)
    events = list(decoder.feed(body))
    end = events.index(sse.DONE) if sse.DONE in events else len(events)
    found = [_parse(event.encode()) for event in events[:end]]
    objects = [o for o in found if o is not None]
    first = next(iter(_dicts(objects[0].get("choices"))), None) if objects else None
    seen = StreamSeen(
        first_has_choice=first is not None,
        first_has_role=first is not None and isinstance(first.get("delta"), dict) and bool(first["delta"].get("role")),
        has_done=end < len(events),
        has_data_after_done=end + 1 < len(events),
        has_named_events=_EVENT_NAME.search(body) is not None,
        has_unreadable=len(objects) < len(found) or decoder.has_unfinished,
    )
    return objects, seen


def _parse(data: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _error(value: Any) -> ErrorSeen:
    if not isinstance(value, dict):
        return ErrorSeen(message=value if isinstance(value, str) else "")
    inner = value.get("innererror")
    message = value.get("message")
    return ErrorSeen(
        code=_word(value.get("code")),
        type=_word(value.get("type")),
        inner_code=_word(inner.get("code")) if isinstance(inner, dict) else None,
        message=message if isinstance(message, str) else "",
    )


def _word(value: Any) -> str | None:
    """A short word that can be printed: what a gateway puts in a code's place can be content."""
    if value is None or value == "":
        return None
    return str(value) if isinstance(value, (str, int)) and _WORD.fullmatch(str(value)) else "(not a word)"


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []
