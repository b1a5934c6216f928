"""The answer of a remote guard: from the bytes of a chat completion to a score. Pure.

Only one thing is a verdict: a JSON object with one choice that ended by itself and whose content is exactly ``0`` or
``1``. Everything else, a refusal and a cut-off trace included, is a `VerdictError` (attacks D07, D08), and the class of
the error says of which kind (`models.trace`).
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

from models.engine import Score, Tier
from models.errors import VerdictError
from models.evidence import Evidence, Kind
from models.odds import log_odds, sigmoid
from models.prompt import SAFE, VIOLATES
from models.trace import read_trace, verdict_error

MAX_RATIONALE_CHARS = 20_000


def read_answer(body: bytes, latency_ms: float) -> Score:
    """Read the body of a ``/chat/completions`` answer with status 200.

    The score is the probability of ``1`` among the two labels at the answer's position, where the server gave the
    log-probabilities of both; otherwise 1.0 or 0.0. Neither is calibrated.

    Args:
        body: As received.
        latency_ms: For the score.

    Raises:
        VerdictError: It is not a verdict. The message never quotes the answer.
    """
    answer = parse_object(body)
    choice = _only_choice(answer)
    message = choice.get("message")
    if not isinstance(message, dict) or message.get("role", "assistant") != "assistant":
        raise VerdictError("the answer has no message of the assistant")
    evidence = _evidence(choice, message)
    value = 1.0 if evidence.violates else 0.0
    if evidence.logit is not None:
        value = sigmoid(evidence.logit)
    rationale = _trace(message)[:MAX_RATIONALE_CHARS] or None
    n_tokens = _n_tokens(answer.get("usage"))
    return Score(value, Tier.REMOTE, False, rationale, n_tokens, latency_ms, evidence=evidence)


def _evidence(choice: dict[str, Any], message: dict[str, Any]) -> Evidence:
    """What the answer says, which is a verdict."""
    if message.get("tool_calls") or message.get("function_call"):
        raise verdict_error(Kind.TASK)
    finish_reason = choice.get("finish_reason")
    if message.get("refusal") or finish_reason == "content_filter":
        raise verdict_error(Kind.REFUSAL)
    content = message.get("content")
    if finish_reason not in ("stop", "length") or not isinstance(content, str | None):
        raise VerdictError("the answer did not end by itself, or is not a text")
    evidence = read_trace(_trace(message), content or "", cut=finish_reason == "length")
    if evidence.violates is None:
        raise verdict_error(evidence.kind)
    label = VIOLATES if evidence.violates else SAFE
    return replace(evidence, logit=_log_odds(choice.get("logprobs"), label))


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise VerdictError("the answer has duplicate keys")
    return result


def _refuse_constant(name: str) -> None:
    raise VerdictError("the answer has a number that JSON does not have")


def parse_object(body: bytes) -> dict[str, Any]:
    """A JSON object that has one meaning.

    Raises:
        VerdictError: It is none. The message never quotes it.
    """
    try:
        # decoded first: json.loads would accept UTF-16 and guess
        parsed = json.loads(body.decode(), object_pairs_hook=_no_duplicates, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise VerdictError("the answer is not JSON") from None
    if not isinstance(parsed, dict):
        raise VerdictError("the answer is not an object")
    return parsed


def _only_choice(answer: dict[str, Any]) -> dict[str, Any]:
    choices = answer.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        raise VerdictError("the answer does not have exactly one choice")
    choice: dict[str, Any] = choices[0]
    return choice


def _trace(message: dict[str, Any]) -> str:
    """The reasoning: vLLM says ``reasoning``, llama-server and others ``reasoning_content``; empty where there is none."""
    for key in ("reasoning_content", "reasoning"):
        if isinstance(trace := message.get(key), str) and trace:
            return trace
    return ""


def _n_tokens(usage: Any) -> int:
    n_tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return n_tokens if isinstance(n_tokens, int) and n_tokens >= 0 else 0


def _log_odds(logprobs: Any, label: str) -> float | None:
    """Log-odds of `VIOLATES` against `SAFE`, at the last token that is the label; None where they are not known."""
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(tokens, list):
        return None
    # the last one: servers list the trace's tokens too, and a trace may hold digits
    position = next((token for token in reversed(tokens) if _spelling(token) == label), None)
    alternatives = position.get("top_logprobs") if isinstance(position, dict) else None
    if not isinstance(alternatives, list):
        return None
    found: dict[str, list[float]] = {VIOLATES: [], SAFE: []}
    for alternative in alternatives:
        spelling, logprob = (
            _spelling(alternative),
            alternative.get("logprob") if isinstance(alternative, dict) else None,
        )
        if spelling in found and isinstance(logprob, (int, float)) and not isinstance(logprob, bool):
            found[spelling].append(float(logprob))
    if not found[VIOLATES] or not found[SAFE]:
        return None
    highest = max(*found[VIOLATES], *found[SAFE])
    if not math.isfinite(highest):
        return None
    violates, safe = (sum(math.exp(logprob - highest) for logprob in found[name]) for name in (VIOLATES, SAFE))
    return log_odds(violates / (violates + safe))


def _spelling(token: Any) -> str | None:
    text = token.get("token") if isinstance(token, dict) else None
    return text.strip() if isinstance(text, str) else None
