"""A shop's proxy to look at: its configuration, and an audit full of mild decisions. The browser tests and the pictures use it."""

from __future__ import annotations

import hashlib
import random
from typing import Any

from proxy.audit.entry import Entry, moment
from proxy.review.item import Flagged, NewItem

CONFIG = """\
upstreams:
  default: {base_url: demo}
guards:
  safeguard: {engine: openai, base_url: "http://127.0.0.1:9/v1", model: gpt-oss-safeguard-20b}
admin: {token_env: TOKEN, port: 0}
audit: {path: audit, content: full}
policies:
  secrets: {detector: secrets}
  order-numbers: {detector: patterns, patterns: ["ACME-[0-9]{6}"]}
  rival-fruit:
    text: |
      # Other shops' fruit

      We sell apples and plums. Content is a violation if it praises or recommends the fruit of another shop, or sends the
      customer there. Naming another shop is not a violation, nor is asking how its fruit compares with ours.
  bulk-orders: {text: "Promises to deliver more than a hundred crates."}
routes:
  - name: fruit-shop
    match: {path: /shop/v1/*}
    upstream: default
    input:
      - {policy: rival-fruit, flag: 0.5, refuse: 0.8}
      - {policy: secrets, refuse: 0.5}
    output:
      - {policy: rival-fruit, flag: 0.4, refuse: 0.85}
      - {policy: bulk-orders, refuse: 0.7, mode: shadow}
  - name: music-desk
    upstream: default
    input:
      - {policy: order-numbers, rewrite: 0.5}
"""

T0 = 1_795_000_000_000_000
MODEL = "gpt-oss-safeguard-20b@1f2e3d4c"


def verdict(policy: str, outcome: str, score: float | None, **more: Any) -> dict[str, Any]:
    """A verdict as records hold it."""
    return {
        "policy": policy,
        "revision": "5e1f00d5a1ad",
        "mode": "enforce",
        "outcome": outcome,
        "score": score,
        "thresholds": {"flag": 0.5, "refuse": 0.8},
        "tier": "direct",
        "model": MODEL,
        "latency_ms": 84.25,
        "cached": False,
        **more,
    }


def request_id(n: int) -> str:
    """The id of the ``n``-th request."""
    return hashlib.md5(b"%d" % n, usedforsecurity=False).hexdigest()


def record(n: int, *, stage: str = "input", action: str = "forward", **more: Any) -> dict[str, Any]:
    """The ``n``-th record, its time included."""
    request = request_id(n)
    return {
        "seq": T0 + n * 1_000_000 + (stage == "output"),
        "decision_id": f"{request}-{stage}",
        "request_id": request,
        "time": moment(T0 + n * 1_000_000),
        "stage": stage,
        "endpoint": "/v1/chat/completions",
        "configuration": "0a1b2c3d4e5f",
        "route": "fruit-shop",
        "policy_set": "00112233445566ff",
        "state": "decided",
        "at_ms": 90.0,
        "action": action,
        "verdicts": [],
        "screen_ms": 86.5,
        "status": 200,
        **more,
    }


def entry(fields: dict[str, Any], content: dict[str, Any] | None = None) -> Entry:
    """What the audit writes of a record."""
    if content is not None:
        fields = {**fields, "kept": content["keep"], "kept_at": fields["time"]}
    return Entry(fields["seq"], fields["decision_id"], True, fields["time"], fields, content)


def later(before: Entry, **fields: Any) -> Entry:
    """What is added to a record."""
    about = {"seq": before.seq, "decision_id": before.decision_id}
    return Entry(before.seq, before.decision_id, False, before.time, {**about, **fields})


def day(n: int = 600) -> list[Entry]:
    """A day in the shop."""
    chance = random.Random(8)
    entries = [_one(i, chance) for i in range(1, n)]
    asked = "Which is better for a cake: your apples, or the pears of the shop across the street?"
    last = record(
        n,
        action="flag",
        policies=["rival-fruit"],
        verdicts=[
            verdict("rival-fruit", "flag", 0.6243, tier="reasoned", latency_ms=2140.5),
            verdict(
                "secrets", "forward", 0.0, tier="detector", model=None, thresholds={"refuse": 0.5}, latency_ms=0.21
            ),
        ],
        shadow=[
            verdict("bulk-orders", "forward", 0.0312, mode="shadow", thresholds={"refuse": 0.7}, calibrated=False),
        ],
        content={"fingerprint": "2f6b9d0c4a7e1835", "texts": 1, "chars": len(asked)},
        findings=[{"policy": "rival-fruit", "path": "messages[0].content", "start": 52, "end": 57, "label": "FRUIT"}],
    )
    kept = {
        "keep": "full",
        "texts": [{"path": "messages[0].content", "surface": "user", "kind": "text", "text": asked}],
        "rationales": {"rival-fruit": "The customer names a rival and asks for a comparison. That is not praise yet."},
    }
    return [*entries, entry(last, kept)]


def _one(n: int, chance: random.Random) -> Entry:
    score = round(min(1.0, max(0.0, chance.betavariate(0.35, 2.4))), 4)
    stage = "output" if n % 3 == 0 else "input"
    if n % 7 == 0:
        found = n % 14 == 0
        action = "rewrite" if found else "forward"
        judged = verdict(
            "order-numbers",
            action,
            float(found),
            tier="detector",
            model=None,
            thresholds={"rewrite": 0.5},
            latency_ms=0.2,
        )
        more: dict[str, Any] = {"policies": ["order-numbers"]} if found else {}
        return entry(record(n, action=action, route="music-desk", verdicts=[judged], screen_ms=0.4, **more))
    if n % 97 == 0:
        failed = verdict("rival-fruit", "error", None, tier=None, error="guard_timeout")
        more = {"cause": "undecided", "policies": ["rival-fruit"], "status": 503, "error": "guard_unavailable"}
        return entry(record(n, stage=stage, action="refuse", verdicts=[failed], **more))
    flag, refuse = (0.5, 0.8) if stage == "input" else (0.4, 0.85)
    action = "refuse" if score >= refuse else "flag" if score >= flag else "forward"
    ms = round(60 + 80 * chance.random(), 2)
    verdicts = [verdict("rival-fruit", action, score, latency_ms=ms, thresholds={"flag": flag, "refuse": refuse})]
    more = {"policies": ["rival-fruit"]} if action != "forward" else {}
    if action == "refuse":
        more |= {"cause": "violation", "status": 400, "error": "content_filter"}
    shadow = []
    if stage == "output":
        bulk = round(chance.betavariate(0.3, 3), 4)
        asks = "refuse" if bulk >= 0.7 else "forward"
        shadow = [verdict("bulk-orders", asks, bulk, mode="shadow", thresholds={"refuse": 0.7}, calibrated=False)]
    return entry(record(n, stage=stage, action=action, verdicts=verdicts, shadow=shadow, screen_ms=ms + 1, **more))


def flagged(
    n: int = 600, score: float = 0.6243, asked: str = "Which is better for a cake: your apples, or pears?"
) -> NewItem:
    """What waits for people about the ``n``-th request."""
    about = {"score": score, "thresholds": {"flag": 0.5, "refuse": 0.8}, "tier": "reasoned", "model": MODEL}
    return NewItem(
        decision_id=f"{request_id(n)}-input",
        request_id=request_id(n),
        stage="input",
        endpoint="/v1/chat/completions",
        route="fruit-shop",
        region=None,
        action="flag",
        flagged=(Flagged("rival-fruit", "5e1f00d5a1ad", "2f6b9d0c4a7e1835", about),),
        content={
            "keep": "full",
            "texts": [{"path": "messages[0].content", "surface": "user", "kind": "text", "text": asked}],
        },
    )
