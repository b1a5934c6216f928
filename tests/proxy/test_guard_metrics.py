"""What /metrics says about guards, and that docs/metrics.md lists just what there is."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry

from models.engine import Engine, GuardPolicy, Passage
from models.factory import build_engine
from models.specs import LocalSpec, RemoteSpec
from proxy.app import build_app
from proxy.guard_metrics import GuardMetrics
from tests.proxy.configs import SMALL, load

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "data" / "tiny-gpt-oss.gguf"


def samples(engines: Mapping[str, Engine]) -> dict[tuple[str, ...], float]:
    """Values by name and labels."""
    registry = CollectorRegistry()
    registry.register(GuardMetrics(lambda: engines))
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
    }


async def test_a_guard_tells_what_it_has_computed_and_by_which_tier_it_decided() -> None:
    spec = LocalSpec("g", "llama", str(TINY), reason_band=(0.01, 0.99), n_ctx=1024, threads=1)
    engine = build_engine(spec)
    before = samples({"g": engine})
    try:
        await engine.start()
        assert await engine.wait_ready(60), engine.last_error
        policies = [GuardPolicy("fruit", "r", "Content about fruit is a violation.")]
        for text in ("We ate a pear and a plum.", "It rained all day long.", "It rained all day long."):
            await engine.judge([Passage("user", text)], policies, deadline=time.monotonic() + 60)
        found = samples({"g": engine})
    finally:
        await engine.close()
    for tier in ("direct", "reasoned"):
        assert before["safeguard_guard_verdicts_total", "g", tier] == 0
    n_verdicts = sum(found["safeguard_guard_verdicts_total", "g", tier] for tier in ("direct", "reasoned"))
    assert n_verdicts == 2 == found["safeguard_verdict_cache_misses_total", "g"]
    assert found["safeguard_verdict_cache_hits_total", "g"] == 1
    assert found["safeguard_guard_tokens_total", "g"] > 50
    assert 2 <= found["safeguard_guard_llama_calls_total", "g"] < found["safeguard_guard_tokens_total", "g"]
    assert 0 < found["safeguard_guard_llama_seconds_total", "g"] < 60
    assert found["safeguard_guard_restarts_total", "g"] == 0
    assert (found["safeguard_guard_queue_length", "g"], found["safeguard_guard_jobs", "g"]) == (0, 0)
    assert samples({"g": engine})["safeguard_guard_tokens_total", "g"] == found["safeguard_guard_tokens_total", "g"]


async def test_the_shipped_encoder_counts_too() -> None:
    engine = build_engine(LocalSpec("e", "encoder", "embedded", threads=1), cache_entries=0)
    try:
        await engine.start()
        assert await engine.wait_ready(60), engine.last_error
        policies = [GuardPolicy("a", "r", "Content about fruit."), GuardPolicy("hate", "r", "Hate", category="hate")]
        await engine.judge([Passage("user", "A pear.")], policies, deadline=time.monotonic() + 60)
        found = samples({"e": engine})
    finally:
        await engine.close()
    assert found["safeguard_guard_verdicts_total", "e", "encoder"] == 2
    assert found["safeguard_guard_llama_calls_total", "e"] >= 1
    assert found["safeguard_guard_tokens_total", "e"] > 5


def test_a_guard_elsewhere_has_no_process_to_tell_of() -> None:
    engine = build_engine(RemoteSpec("r", "http://127.0.0.1:9/v1", "m"), cache_entries=9)
    assert {name for name, *_ in samples({"r": engine})} == {
        "safeguard_verdict_cache_hits_total",
        "safeguard_verdict_cache_misses_total",
        "safeguard_verdict_cache_joins_total",
        "safeguard_verdict_cache_entries",
    }


def test_the_page_lists_just_the_metrics_that_there_are(tmp_path: Path) -> None:
    app = build_app(load(tmp_path, SMALL + "guards: {}\naudit: {}\nreview: {}\n"))
    names = {f"{f.name}_total" if f.type == "counter" else f.name for f in app.metrics.registry.collect()}
    listed = re.findall(
        r"^\| `(safeguard_\w+)`", (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(listed) == sorted(names)
