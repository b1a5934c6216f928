"""How much a guard is given at once."""

from __future__ import annotations

import pytest

from proxy.config import EncoderGuard, Guard, LlamaGuard, OpenAIGuard
from proxy.offline import most_at_once

FLEET = {"engine": "openai", "base_url": "http://h/v1", "model": "m"}


@pytest.mark.parametrize(
    ("guard", "n_policies", "most"),
    [
        pytest.param(EncoderGuard(engine="encoder"), 12, 16, id="encoder"),
        pytest.param(EncoderGuard(engine="encoder", max_queue=3), 12, 3, id="a-short-queue"),
        pytest.param(LlamaGuard(engine="llama", model="m"), 3, 16, id="llama"),
        pytest.param(LlamaGuard(engine="llama", model="m", max_policies=32), 3, 64, id="many-streams"),
        pytest.param(LlamaGuard(engine="llama", model="m", max_sequences=64, max_queue=100), 3, 100, id="never-more-than-wait"),
        pytest.param(OpenAIGuard.model_validate(FLEET), 1, 64, id="a-server"),
        pytest.param(OpenAIGuard.model_validate(FLEET), 12, 6, id="a-call-per-policy"),
        pytest.param(OpenAIGuard.model_validate({**FLEET, "max_connections": 2}), 12, 1, id="at-least-one"),
        pytest.param(OpenAIGuard.model_validate(FLEET), 0, 64, id="no-policy"),
    ],
)  # fmt: skip
def test_a_guard_is_kept_busy_and_its_queue_never_full(guard: Guard, n_policies: int, most: int) -> None:
    assert most_at_once(guard, n_policies) == most
