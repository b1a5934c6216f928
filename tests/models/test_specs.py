"""Which guards can go on when their configuration changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models.engine import Canary, Effort, GuardPolicy, Passage
from models.specs import GuardPlan, LocalSpec, RemoteSpec

MODEL = LocalSpec("g", "llama", "m.gguf", n_policies=2)
SERVER = RemoteSpec("r", "http://127.0.0.1:9/v1", "m")
LOCAL, REMOTE = GuardPlan(MODEL, cache_entries=10), GuardPlan(SERVER)
CANARY = Canary(GuardPolicy("a", "r1", "first"), Passage("user", "a"), Passage("user", "b"))


@pytest.mark.parametrize(
    ("now", "then", "goes_on"),
    [
        pytest.param(LOCAL, LOCAL, True, id="same"),
        pytest.param(LOCAL, replace(LOCAL, spec=replace(MODEL, n_policies=9)), True, id="more-policies"),
        pytest.param(LOCAL, replace(LOCAL, spec=replace(MODEL, timeout_s=9, check_memory=False)), True, id="limits"),
        pytest.param(
            REMOTE, replace(REMOTE, spec=replace(SERVER, timeout_s=9, max_queue=9)), True, id="limits-of-a-server"
        ),
        pytest.param(LOCAL, replace(LOCAL, spec=replace(MODEL, max_queue=9)), False, id="queue"),
        pytest.param(LOCAL, replace(LOCAL, canaries=(CANARY,)), True, id="canaries"),
        pytest.param(LOCAL, replace(LOCAL, cache_entries=20), True, id="cache-of-another-size"),
        pytest.param(LOCAL, replace(LOCAL, cache_entries=0), False, id="no-cache"),
        pytest.param(LOCAL, replace(LOCAL, files=(("m.gguf", 1),)), False, id="another-file"),
        pytest.param(LOCAL, replace(LOCAL, spec=replace(MODEL, effort=Effort.HIGH)), False, id="effort"),
        pytest.param(LOCAL, replace(LOCAL, spec=replace(MODEL, name="h")), False, id="name"),
        pytest.param(LOCAL, REMOTE, False, id="engine"),
        pytest.param(REMOTE, REMOTE, True, id="same-server"),
        pytest.param(REMOTE, replace(REMOTE, spec=replace(SERVER, api_key="k")), False, id="key"),
    ],
)
def test_a_guard_goes_on_if_nothing_of_it_changed_but_what_may(now: GuardPlan, then: GuardPlan, goes_on: bool) -> None:
    assert then.is_met_by(now) is goes_on
