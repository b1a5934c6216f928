"""What `safeguard doctor` concludes from four answers: do refusals survive the gateway in front. No I/O.

Theory. Four probes are sent through the client-facing URL: a harmless text and one that the route refuses, each plain and
streamed. A refusal survives if the client can tell it from an answer and from a fault, and nobody tried again. Probed with
real gateways and clients: a gateway with fallbacks takes any 4xx as a reason to ask another, unguarded model, and lets a 200
with ``finish_reason: content_filter`` be. So ``refusal: message`` is the way out wherever an error does not survive.

What is still ugly: an answer in place of a refusal has two causes, a bypass or a text that the route does not refuse.
Traces of safeguard (its headers, its metrics) tell them apart; where a gateway leaves none, the finding says both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, TypeAlias

from proxy.client_view import ClientView, Kind

RefusalMode: TypeAlias = Literal["error", "message"]

UNEXAMINED = frozenset({"unusable", "not_refused", "guard_unavailable"})
"""Findings after which nothing can be said about refusals, unless one was bypassed."""


class Check(StrEnum):
    """What is looked at."""

    PLAIN = "plain answer"
    STREAM = "streamed answer"
    REFUSED_PLAIN = "plain refusal"
    REFUSED_STREAM = "streamed refusal"
    RETRIES = "retries"
    HEADERS = "headers"
    OUTAGE = "guard outage"


class Outcome(StrEnum):
    """How it went."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        code: Short stable word, for programs.
        text: What it means and what to do, for people.
    """

    check: Check
    outcome: Outcome
    code: str
    text: str


_Note: TypeAlias = tuple[Outcome, str, str]
"""A finding without its check: outcome, code, text."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What was seen, and what is known about the route from its configuration.

    Attributes:
        stream: None, like the refused ones, if the first probe already failed.
        configured: The route's refusal mode; None if no configuration was given.
        refusal_texts: What the route tells its clients; empty if not known.
        must_refuse: Whether the text is one that the configuration refuses for certain.
    """

    plain: ClientView
    stream: ClientView | None = None
    refused_plain: ClientView | None = None
    refused_stream: ClientView | None = None
    configured: RefusalMode | None = None
    refusal_texts: frozenset[str] = field(default=frozenset(), repr=False)
    must_refuse: bool = False

    @property
    def refused(self) -> list[ClientView]:
        """Answers to the text that the route refuses."""
        return [view for view in (self.refused_plain, self.refused_stream) if view is not None]

    def record(self) -> dict[str, Any]:
        """The answers as JSON, without content."""
        views = {
            "plain": self.plain,
            "stream": self.stream,
            "refused_plain": self.refused_plain,
            "refused_stream": self.refused_stream,
        }
        return {name: view.record() for name, view in views.items() if view is not None}

    def is_refusal(self, view: ClientView) -> bool:
        """Whether an answer bears any sign of a refusal by safeguard."""
        return (
            view.decision == "refuse"
            or "content_filter" in view.finish_reasons
            or (view.error is not None and view.error.code == "content_filter")
            or (view.status == 200 and view.text in self.refusal_texts)
            or (view.counted is not None and view.counted.refused > 0)
        )


@dataclass(frozen=True, slots=True)
class Report:
    """The result.

    Attributes:
        mode: The refusal mode that the route is in, as configured or else as it looks.
        advice: The refusal mode to use; None if neither is known to work.
        advice_text: Why, and what to do.
        exit_code: 0: all refusals survive; 1: a problem was found; 2: refusals could not be examined.
    """

    findings: tuple[Finding, ...]
    mode: RefusalMode | None
    advice: RefusalMode | None
    advice_text: str
    exit_code: int

    def record(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "refusal": self.mode,
            "findings": [
                {"check": f.check.value, "outcome": f.outcome.value, "code": f.code, "text": f.text}
                for f in self.findings
            ],
            "recommendation": {"refusal": self.advice, "text": self.advice_text},
            "exit_code": self.exit_code,
        }


def examine(visit: Visit) -> Report:
    """Judge what was seen."""
    mode = visit.configured or _mode_seen(visit)
    findings = tuple(_findings(visit, mode))
    advice, text = _advice(mode, findings)
    exit_code = int(any(f.outcome is Outcome.PROBLEM for f in findings))
    if _is_unexamined({f.code for f in findings}):
        exit_code = 2
    return Report(findings, mode, advice, text, exit_code)


def _is_unexamined(codes: set[str]) -> bool:
    return bool(codes & UNEXAMINED) and "bypassed" not in codes


def _mode_seen(visit: Visit) -> RefusalMode | None:
    """The mode that the refusals look like; the clearest sign decides."""
    for view in visit.refused:
        if view.status == 200 and "content_filter" in view.finish_reasons:
            return "message"
        if view.error is not None and view.error.code == "content_filter":
            return "error"
    for view in visit.refused:
        if view.status == 200 and (view.decision == "refuse" or view.text in visit.refusal_texts):
            return "message"
        if view.status >= 400:
            return "error"
    return None


def _findings(visit: Visit, mode: RefusalMode | None) -> Iterator[Finding]:
    plain, stream = visit.plain, visit.stream
    yield from _of(Check.PLAIN, _plain(plain), "A harmless request is answered.")
    if stream is not None:
        yield from _of(Check.STREAM, _stream(stream), _whole_stream(stream))
    for check, view in ((Check.REFUSED_PLAIN, visit.refused_plain), (Check.REFUSED_STREAM, visit.refused_stream)):
        if view is not None:
            is_stream = check is Check.REFUSED_STREAM
            yield from _of(check, _refusal(view, visit, mode, is_stream=is_stream), _survived(view))
    if visit.refused:
        yield from _of(Check.RETRIES, _retries(visit), "Each refused request reached safeguard once.")
        yield from _of(Check.HEADERS, _headers(visit), "The client sees safeguard's decision and its id.")
    outage = (
        "What the gateway makes of a 503 guard_unavailable cannot be provoked from outside; "
        "if it has fallbacks, an unguarded model answers then too."
    )
    yield Finding(Check.OUTAGE, Outcome.NOT_CHECKED, "outage_not_checked", outage)


def _of(check: Check, notes: Iterator[_Note], otherwise: str) -> Iterator[Finding]:
    """The findings of one check; if there are none, that it is well."""
    yield from [Finding(check, *note) for note in notes] or [Finding(check, Outcome.OK, "ok", otherwise)]


def _problem(code: str, text: str) -> _Note:
    return Outcome.PROBLEM, code, text


def _warning(code: str, text: str) -> _Note:
    return Outcome.WARNING, code, text


# ------------------------------------------------------------------ the harmless text


def is_usable(view: ClientView) -> bool:
    """Whether a harmless request was answered by a completion, so that it makes sense to go on."""
    return view.fault is None and view.status == 200 and view.kind is Kind.JSON and bool(view.finish_reasons)


def _plain(view: ClientView) -> Iterator[_Note]:
    if "content_filter" in view.finish_reasons or (view.error is not None and view.error.code == "content_filter"):
        yield _problem("unusable", "A harmless request was refused too: look at the route's thresholds.")
    elif not is_usable(view):
        not_chat = " with no chat completion" if view.status == 200 and view.fault is None else ""
        look = "look at --via, --model and --api-key-env"
        yield _problem("unusable", f"A harmless request {_shown(view)}{not_chat}, so no refusal can be tested: {look}.")


def _stream(view: ClientView) -> Iterator[_Note]:
    """What in a stream breaks clients, whatever it says; each was probed with real ones."""
    seen = view.stream
    if view.fault is not None or view.status != 200:
        yield _problem("stream_failed", f"The streamed request {_shown(view)}: the gateway does not stream.")
    elif view.kind is not Kind.SSE or seen is None:
        yield _problem("not_a_stream", "A stream was asked for and another body came: SDKs see an empty answer.")
    elif view.error is not None:
        yield _problem("error_in_stream", f"The stream holds an error{_code(view)}: clients see it without a status.")
    else:
        if seen.has_named_events:
            yield _problem("named_events", "The gateway adds event names: SDKs parse such an event as a broken chunk.")
        if seen.has_unreadable:
            yield _problem("unreadable_events", "The stream has data that is not a whole JSON object: SDKs fail on it.")
        if not seen.has_done:
            yield _problem("no_done", "The stream does not end with [DONE]: clients wait, or take it for broken off.")
        if seen.has_data_after_done:
            yield _warning("after_done", "There is data after [DONE], which no client sees.")
        if not view.finish_reasons:
            yield _problem(
                "no_finish_reason", "No chunk has a finish_reason: clients take a cut answer for a whole one."
            )
        if not seen.first_has_choice:
            yield _problem("empty_first_chunk", "The first chunk has no choice: clients that read choices[0] fail.")
        elif not seen.first_has_role:
            yield _warning("no_role", "The first chunk names no role: strict clients complain.")


def _whole_stream(view: ClientView) -> str:
    times = f"first byte after {view.first_byte_s:.2f} s, last after {view.total_s:.2f} s"
    return f"A stream arrives whole and in the right form ({times})."


# ------------------------------------------------------------------ the refused text


def _survived(view: ClientView) -> str:
    if view.status == 200:
        return "The client gets the refusal as a message with finish_reason content_filter."
    return "The client gets HTTP 400 with code content_filter, as JSON."


def _refusal(view: ClientView, visit: Visit, mode: RefusalMode | None, *, is_stream: bool) -> Iterator[_Note]:
    if view.fault is not None:
        yield _problem("broken_off", f"The refused request {_shown(view)}: the client cannot tell that it was refused.")
    elif view.error is not None and view.error.code == "guard_unavailable":
        yield _problem(
            "guard_unavailable", "The guard could not judge, so nothing was refused: see /readyz, try again."
        )
    elif view.status >= 400:
        yield from _as_error(view, visit, mode)
    elif view.status != 200:
        yield _problem("status_changed", f"The refusal became HTTP {view.status}, which no client knows as a refusal.")
    elif "content_filter" in view.finish_reasons:
        yield from _as_message(view, visit, mode, is_stream=is_stream)
    elif view.error is not None:
        what = f"The refusal became HTTP 200 with an error{_code(view)} inside"
        yield _problem("error_in_success", f"{what}: clients see no status, some see nothing.")
    elif view.decision == "refuse" or (view.text and view.text in visit.refusal_texts):
        what = "The refusal arrives without finish_reason content_filter"
        yield _problem("finish_reason_changed", f"{what}: to the client it is a normal answer.")
    else:
        yield _answered(view, visit)


def _as_error(view: ClientView, visit: Visit, mode: RefusalMode | None) -> Iterator[_Note]:
    error = view.error
    status = f"HTTP {view.status}{_code(view)}"
    if mode == "message":
        why = "the gateway makes an error of it, or another route answered"
        yield _problem("became_error", f"The route refuses by message, the client got {status}: {why}.")
    elif view.kind is Kind.SSE:
        why = "SDKs lose code and type, the refusal looks like a fault"
        yield _problem("error_as_stream", f"HTTP {view.status} comes as text/event-stream: {why}.")
    elif view.status >= 500:
        yield _problem("status_changed", f"The refusal became {status}: a fault, which clients retry.")
    elif view.status != 400:
        yield _problem("status_changed", f"The refusal became {status}; clients know a refusal by 400.")
    elif view.kind is not Kind.JSON or error is None:
        yield _problem("body_changed", "HTTP 400 came without a JSON error: the client cannot tell a refusal.")
    elif error.code != "content_filter":
        code = error.code or "none"
        why = "the client cannot tell a refusal from a malformed request"
        yield _problem("code_changed", f"HTTP 400 arrived, but its code is {code} and not content_filter: {why}.")
    else:
        if error.inner_code != "content_policy_violation":
            yield _warning("details_lost", "innererror is gone: LiteLLM clients no longer see a policy violation.")
        if visit.refusal_texts and error.message not in visit.refusal_texts:
            yield _warning("text_changed", "The refusal's text is not the configured one; users may see it.")


def _as_message(view: ClientView, visit: Visit, mode: RefusalMode | None, *, is_stream: bool) -> Iterator[_Note]:
    if mode == "error":
        why = "the gateway or another model filtered it, or another route answered"
        yield _problem("became_message", f"The route refuses by error, the client got a message: {why}.")
        return
    if is_stream:
        yield from _stream(view)
    elif view.kind is not Kind.JSON:
        yield _problem("not_a_completion", "A plain answer was asked for and a stream came: clients cannot read it.")
    plain = visit.refused_plain
    seen = {plain.text} if plain is not None and "content_filter" in plain.finish_reasons else set()
    known = visit.refusal_texts or seen
    if known and view.text not in known:
        yield _problem("text_changed", "The refusal's text was changed: the user is told something else.")


def _answered(view: ClientView, visit: Visit) -> _Note:
    """An answer where a refusal should be: who gave it?"""
    counted = view.counted
    if counted is not None and counted.refused:
        why = "safeguard refused this text"
    elif counted is not None and not counted.judged:
        why = "this text never reached safeguard (unless --admin is another instance)"
    elif any(visit.is_refusal(v) for v in visit.refused):
        why = "the same text was refused in the other form"
    elif view.policy_set != visit.plain.policy_set and view.policy_set is not None:
        why = "another route answered than for the harmless text"
    elif counted is not None or view.decision is not None:
        hint = "name one that it refuses (--probe, --config)"
        return _problem("not_refused", f"The route lets this text pass, so no refusal could be examined: {hint}.")
    elif visit.plain.decision is not None:
        why = "only the answer to the harmless text came from safeguard"
    elif visit.must_refuse:
        why = "the configuration refuses this text"
    else:
        who = "an unguarded model was asked, or the route does not refuse this text"
        return _problem("answered", f"The text was answered: {who}; --admin or `safeguard check` tells which.")
    return _problem("bypassed", f"BYPASS: {why}, yet a model answered it: remove this model's fallbacks and retries.")


# ------------------------------------------------------------------ the rest


def _retries(visit: Visit) -> Iterator[_Note]:
    counts = [view.counted.refused for view in visit.refused if view.counted is not None]
    if not counts:
        text = "How often a refused request is tried is only seen in safeguard's metrics: give --admin."
        yield Outcome.NOT_CHECKED, "retries_not_checked", text
    elif max(counts) > 1:
        text = f"One refused request reached safeguard {max(counts)} times (if nobody else's was refused meanwhile)"
        yield _problem("retried", f"{text}: the gateway does not heed x-should-retry; turn its retries off.")
    elif min(counts) == 0:
        text = "Safeguard did not count each refusal: --admin is another instance, or it was not asked."
        yield _warning("not_counted", text)


def _headers(visit: Visit) -> Iterator[_Note]:
    if visit.plain.decision is None or not visit.plain.has_decision_id:
        yield _warning("headers_lost", "x-safeguard-* headers are stripped: clients cannot quote the decision id.")
    elif visit.plain.has_renamed_headers:
        yield _warning(
            "headers_renamed", "x-safeguard-* headers arrive as llm_provider-x-safeguard-*, as LiteLLM does."
        )
    if any(view.should_retry != "false" for view in visit.refused if view.status >= 400):
        yield _warning(
            "retry_header_lost",
            "x-should-retry is stripped from refusals: nothing holds a client back that retries them.",
        )


def _advice(mode: RefusalMode | None, findings: tuple[Finding, ...]) -> tuple[RefusalMode | None, str]:
    codes = {f.code for f in findings}
    about_refusals = (Check.REFUSED_PLAIN, Check.REFUSED_STREAM, Check.RETRIES)
    survives = not any(f.outcome is Outcome.PROBLEM for f in findings if f.check in about_refusals)
    if _is_unexamined(codes):
        return None, "No recommendation: no refusal could be examined."
    if "answered" in codes:
        return None, "Find out whether the route refuses this text; if it does, this is a bypass: `refusal: message`."
    if mode == "message" and survives:
        return "message", "Keep `refusal: message`, it survives; whether an error would is not known."
    if mode == "message":
        return None, "Not even a message survives: the gateway's fallbacks, retries or filters have to go."
    if survives:
        return "error", "Use `refusal: error`, it survives."
    return (
        "message",
        "Set `refusal: message` and run this again: an error does not survive here, a message mostly does.",
    )


def _shown(view: ClientView) -> str:
    if view.fault is not None:
        return f"got no whole answer ({view.fault})"
    return f"was answered HTTP {view.status}{_code(view)}"


def _code(view: ClientView) -> str:
    return f" with code {view.error.code}" if view.error is not None and view.error.code is not None else ""
