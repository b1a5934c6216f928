"""A llama guard as it is configured: each choice loads, passes its canaries and judges, in a process of its own."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from models.engine import GuardPolicy, Passage, Score
from proxy.loading.drawing import load_config

TINY = Path(__file__).parents[1] / "data" / "tiny-gpt-oss.gguf"
CONFIG = """\
upstreams:
  default: {{base_url: demo}}
guards:
  guard: {{engine: llama, model: "{model}", n_ctx: 1024, threads: 1, effort: none, {options}}}
policies:
  fruit: {{file: fruit.md}}
routes:
  - {{name: all, upstream: default, input: [{{policy: fruit, refuse: 0.5}}]}}
"""
FRUIT = "# Fruit\n\nContent about fruit is a violation.\n"
EXAMPLES = """\
- {text: She bought a banana and an apple., stage: input, violates: true}
- {text: The tram was late., stage: input, violates: false}
"""


@pytest.mark.parametrize(
    "options",
    [
        "flash_attention: on",
        "flash_attention: off",
        "flash_attention: off, kv_type: f32",
        "kv_type: bf16",
        "kv_type: q8_0, layout: streams",
        "kv_type: q4_0, flash_attention: on",
        "batch_tokens: 32",
        "batch_tokens: 8192",
    ],
)
async def test_a_guard_with_this_choice_passes_its_canaries_and_judges(tmp_path: Path, options: str) -> None:
    (tmp_path / "fruit.md").write_text(FRUIT)
    (tmp_path / "fruit.examples.yaml").write_text(EXAMPLES)
    path = tmp_path / "safeguard.yaml"
    path.write_text(CONFIG.format(model=TINY, options=options))
    engine = load_config(path, {}).engines["guard"]
    try:
        await engine.start()
        assert await engine.wait_ready(60), engine.last_error
        scores = []
        for text in ("We ate a pear and a plum.", "It rained all day long."):
            passages, policies = [Passage("user", text)], [GuardPolicy("fruit", "r", FRUIT)]
            (entry,) = await engine.judge(passages, policies, deadline=time.monotonic() + 60)
            assert isinstance(entry, Score), entry
            scores.append(entry.value)
        assert scores[0] > 0.5 > scores[1]
    finally:
        await engine.close()
