"""What the proxy and a guard process say to each other, as bytes. Sans-I/O.

A frame is a length (4 bytes, big-endian) and a JSON object with a ``type``::

    proxy → guard   load    spec, path, verified     once, first
                    job     id, key, deadline, passages, policies, new, forget
                    cancel  id                       the asker has gone
    guard → proxy   ready   model, verified          the model is loaded
                    failed  code, message            it cannot be; the process ends
                    answer  id, entries, usage       one entry per policy, in order; what the process has computed so far

Policies are long and few, so each crosses once per process: ``new`` maps a number to a policy, ``policies`` lists
numbers. ``forget`` empties the table first; that is how it stays bounded over many reloads of the configuration.

Both ends are ours, yet the guard runs native code on hostile text: whatever it says is checked (`WireError`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import orjson

from models.attention import FlashAttention, KvType
from models.engine import Effort, GuardPolicy, Passage, Score, Tier
from models.errors import ERRORS_BY_CODE, EngineError
from models.evidence import Evidence, Kind
from models.specs import LocalSpec
from models.usage import Usage

Message = dict[str, Any]
Entry = Score | EngineError

LENGTH_BYTES = 4
MAX_FRAME_BYTES = 64 * 1024 * 1024
"""Room for the largest request body (10 MiB) even where JSON needs six bytes for one."""
_MAX_COUNT = 1 << 53
"""Of a counter: what a float still holds exactly."""
MAX_POLICIES = 512
"""Size at which the table of known policies starts again."""


class WireError(Exception):
    """The other side sent, or was about to be sent, something that is not a message. Holds no content."""


def pack(message: Message) -> bytes:
    """One frame.

    Raises:
        WireError: Larger than `MAX_FRAME_BYTES`, or a text is not valid Unicode.
    """
    try:
        body = orjson.dumps(message)
    except TypeError:  # orjson.JSONEncodeError; its message may quote the text
        raise WireError("a message cannot be written as JSON") from None
    if len(body) > MAX_FRAME_BYTES:
        raise WireError(f"a message of {len(body)} bytes is over the limit of {MAX_FRAME_BYTES}")
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


class FrameReader:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Take bytes; return the messages that are now complete.

        Raises:
            WireError: Over-long or not a JSON object with a ``type``. The stream is lost: close it.
        """
        self._buffer += data
        messages = []
        while len(self._buffer) >= LENGTH_BYTES:
            end = LENGTH_BYTES + int.from_bytes(self._buffer[:LENGTH_BYTES], "big")
            if end > LENGTH_BYTES + MAX_FRAME_BYTES:
                raise WireError("a frame is over the limit")
            if len(self._buffer) < end:
                break
            messages.append(_message(bytes(self._buffer[LENGTH_BYTES:end])))
            del self._buffer[:end]
        return messages


def _message(body: bytes) -> Message:
    try:
        message = orjson.loads(body)
    except ValueError:
        raise WireError("a frame is not JSON") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise WireError("a frame is not a message")
    return message


def load_message(spec: LocalSpec, path: str, verified: str | None) -> Message:
    """The first message: what to load. ``verified``: the file state whose hash was already found right."""
    return {"type": "load", "spec": asdict(spec), "path": path, "verified": verified}


def read_spec(message: Message) -> LocalSpec:
    """The spec of a ``load`` message."""
    fields = message["spec"]
    typed = {
        "effort": Effort(fields["effort"]),
        "reason_band": tuple(fields["reason_band"]),
        "flash_attention": FlashAttention(fields["flash_attention"]),
        "kv_type": KvType(fields["kv_type"]),
    }
    return LocalSpec(**{**fields, **typed})


class PolicySender:
    """The proxy's side of the policy table of one guard process."""

    def __init__(self) -> None:
        self._numbers: dict[GuardPolicy, int] = {}
        self._next = 0
        self._forget = False

    def reset(self) -> None:
        """Start the table again: a job that was written could not be sent."""
        self._numbers.clear()
        self._forget = True

    def job_message(
        self,
        job_id: int,
        passages: Sequence[Passage],
        policies: Sequence[GuardPolicy],
        deadline: float,
        key: str = "",
    ) -> Message:
        """A ``job``. The policies in it count as known from now on: where it cannot be sent, call `reset`."""
        if len(self._numbers) + len(policies) > MAX_POLICIES:
            self.reset()
        forget, self._forget = self._forget, False
        new: dict[str, Message] = {}
        numbers = []
        for policy in policies:
            number = self._numbers.get(policy)
            if number is None:
                number = self._numbers[policy] = self._next
                self._next += 1
                new[str(number)] = asdict(policy)
            numbers.append(number)
        return {
            "type": "job",
            "id": job_id,
            "key": key,
            "deadline": deadline,
            "passages": [[passage.surface, passage.text, passage.context] for passage in passages],
            "policies": numbers,
            "new": new,
            "forget": forget,
        }


class PolicyReceiver:
    """The guard's side of the policy table."""

    def __init__(self) -> None:
        self._policies: dict[int, GuardPolicy] = {}

    def read_job(self, message: Message) -> tuple[list[Passage], list[GuardPolicy]]:
        """The passages and policies of a ``job``; learns its new policies."""
        if message["forget"]:
            self._policies.clear()
        for number, fields in message["new"].items():
            band = fields["reason_band"]
            self._policies[int(number)] = GuardPolicy(**{**fields, "reason_band": band and tuple(band)})
        passages = [Passage(surface, text, context) for surface, text, context in message["passages"]]
        return passages, [self._policies[number] for number in message["policies"]]


def answer_message(job_id: int, entries: Sequence[Entry], usage: Usage | None = None) -> Message:
    """An ``answer``."""
    written = None if usage is None else asdict(usage)
    return {"type": "answer", "id": job_id, "entries": [_write_entry(entry) for entry in entries], "usage": written}


def read_usage(message: Message) -> Usage | None:
    """The usage of an ``answer``; None: there is none, or it cannot be one. No verdict fails for a number in the metrics."""
    match message.get("usage"):
        case {"n_calls": int(n_calls), "n_tokens": int(n_tokens), "seconds": float(seconds)}:
            pass
        case _:
            return None
    counts = (n_calls, n_tokens)
    are_counts = all(type(count) is int and 0 <= count <= _MAX_COUNT for count in counts)  # True is an int too
    return Usage(*counts, seconds) if are_counts and 0 <= seconds < math.inf else None


def _write_entry(entry: Entry) -> Message:
    if isinstance(entry, EngineError):
        return {"error": entry.code, "message": str(entry)}
    return asdict(entry)


def read_entries(message: Message, n_policies: int) -> list[Entry]:
    """The entries of an ``answer``; an entry that is not a proper score becomes an error, never a score.

    Raises:
        WireError: There is not one entry per policy.
    """
    entries = message.get("entries")
    if not isinstance(entries, list) or len(entries) != n_policies:
        raise WireError(f"an answer does not have {n_policies} entries")
    return [_read_entry(entry) for entry in entries]


def _read_entry(fields: Any) -> Entry:
    try:
        if "error" in fields:
            return ERRORS_BY_CODE.get(fields["error"], EngineError)(str(fields["message"]))
        score = Score(
            **{
                **fields,
                "tier": Tier(fields["tier"]),
                "value": float(fields["value"]),
                "evidence": read_evidence(fields.get("evidence")),
            }
        )
    except (TypeError, ValueError, KeyError):
        return EngineError("the guard process gave an entry that cannot be read")
    # NaN becomes null in JSON and fails above; infinities and anything outside fail here
    if isinstance(fields["value"], bool) or not math.isfinite(score.value) or not 0.0 <= score.value <= 1.0:
        return EngineError("the guard process gave a score outside [0, 1]")
    if score.unjudged is not None and score.unjudged not in ERRORS_BY_CODE:
        return EngineError("the guard process gave an unknown error for a part that it could not judge")
    if score.pass_below is not None and not (type(score.pass_below) is float and 0.0 <= score.pass_below <= 1.0):
        return EngineError("the guard process gave a pass_below outside [0, 1]")
    return score


def read_evidence(fields: Any) -> Evidence | None:
    """The evidence of an entry.

    Raises:
        KeyError, TypeError, ValueError: It is not one.
    """
    if fields is None:
        return None
    optional = {"logit": (float, int), "violates": (bool,), "n_tokens": (int,)}
    given = {"n_chars": (int,), "n_drift_words": (int,), "runaway": (bool,), "names_label": (bool,), "cut": (bool,)}
    for name, types in (optional | given).items():
        if type(fields[name]) not in types and not (fields[name] is None and name in optional):
            raise TypeError(f"{name} is of another type")
    return Evidence(**{**fields, "kind": Kind(fields["kind"])})
