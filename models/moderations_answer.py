"""A classifier behind ``POST /moderations``, OpenAI's or whoever speaks it: what it is asked, and what it says. Pure.

It judges by categories of its own and reads no policy. A policy is judged by the category that it names: the score is the
highest of that category and those below it (``hate`` is ``hate`` and ``hate/threatening``); `ANY` is the highest of all.

Source: OpenAI's API reference as of openai-python 3.54 (``types/moderation.py``).
"""

from __future__ import annotations

from typing import Any

from models.engine import GuardPolicy, Score, Tier
from models.errors import EngineError, VerdictError
from models.evidence import Evidence
from models.odds import log_odds
from models.remote_answer import parse_object

ANY = "any"


def moderations_payload(model: str, content: str) -> dict[str, object]:
    """The body of a request."""
    return {"model": model, "input": content}


def read_moderations(body: bytes, policy: GuardPolicy, latency_ms: float) -> Score:
    """Read the body of an answer with status 200.

    Args:
        body: As received.
        policy: Whose category counts.
        latency_ms: For the score.

    Raises:
        EngineError: The policy names no category that the classifier has.
        VerdictError: It is not the answer of such a classifier. The message never quotes it.
    """
    if policy.category is None:
        raise EngineError(
            f"a moderation API judges by its own categories: policy {policy.name} must name one (`category:`)"
        )
    scores = _scores(parse_object(body))
    below = policy.category + "/"
    found = [s for name, s in scores.items() if policy.category in (ANY, name) or name.startswith(below)]
    if not found:
        raise EngineError(f"the moderation API has no category {policy.category!r}, which policy {policy.name} names")
    value = max(found)
    return Score(value, Tier.REMOTE, latency_ms=latency_ms, evidence=Evidence(logit=log_odds(value)))


def _scores(answer: dict[str, Any]) -> dict[str, float]:
    results = answer.get("results")
    if not isinstance(results, list) or len(results) != 1 or not isinstance(results[0], dict):
        raise VerdictError("the answer does not have exactly one result")
    scores = results[0].get("category_scores")
    if not isinstance(scores, dict) or not scores:
        raise VerdictError("the answer has no scores")
    for value in scores.values():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value <= 1.0:
            raise VerdictError("the answer has a score outside [0, 1]")
    return {name: float(value) for name, value in scores.items()}
