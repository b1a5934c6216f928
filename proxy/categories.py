"""Verdicts in the words of OpenAI's moderation: policies as categories, with scores.

A category is true when its score reaches the rule's lowest threshold of refuse and rewrite or, for a rule that only flags, of
flag: when the rule would do the most that it can do; not where the content is excepted for its policy. The content is flagged
when a category is true. What could not be judged is in no category: an error never reads as safe, its caller must say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rules.decision import Verdict
from rules.rule import Action, Rule


def threshold_of(rule: Rule) -> float:
    """The score from which on a rule's category is true."""
    grave = [t for action, t in rule.thresholds.items() if action >= Action.REWRITE]
    return min(grave or rule.thresholds.values())


def categorised(verdicts: Iterable[Verdict], applied: Mapping[str, list[str]] | None = None) -> dict[str, Any]:
    """What verdicts say about one content.

    Args:
        verdicts: Of rules that are enforced; those without a score are left out.
        applied: Per policy the kinds of input that it read; left out: text.

    Returns:
        ``flagged``, ``categories``, ``category_scores`` and ``category_applied_input_types``. A policy of several rules
        has the highest of their scores and is true if one of them says so.
    """
    categories: dict[str, bool] = {}
    scores: dict[str, float] = {}
    for verdict in verdicts:
        if verdict.score is None:
            continue
        name = verdict.rule.policy.name
        is_true = verdict.score >= threshold_of(verdict.rule) and verdict.excepted is None
        categories[name] = categories.get(name, False) or is_true
        scores[name] = max(scores.get(name, 0.0), verdict.score)
    return {
        "flagged": any(categories.values()),
        "categories": categories,
        "category_scores": scores,
        "category_applied_input_types": {
            name: ["text"] if applied is None else applied.get(name, []) for name in categories
        },
    }
