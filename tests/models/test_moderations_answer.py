"""A classifier behind ``/moderations``: what is asked, and what is a score."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer

from models.engine import GuardPolicy, Passage, Score, Tier
from models.errors import EngineError, VerdictError
from models.moderations_answer import read_moderations
from models.remote import RemoteEngine
from models.specs import RemoteSpec

SCORES = {"hate": 0.2, "hate/threatening": 0.6, "violence": 0.9, "sexual": 0.0}


def policy(category: str | None) -> GuardPolicy:
    return GuardPolicy("p", "r", "About it.", category=category)


def body(scores: Any = SCORES, **more: Any) -> bytes:
    return json.dumps(
        {"id": "modr-1", "model": "m", "results": [{"flagged": True, "category_scores": scores}], **more}
    ).encode()


@pytest.mark.parametrize(
    ("category", "value"),
    [
        pytest.param("violence", 0.9, id="itself"),
        pytest.param("hate", 0.6, id="with-those-below"),
        pytest.param("hate/threatening", 0.6, id="one-below"),
        pytest.param("any", 0.9, id="the-highest"),
        pytest.param("sexual", 0.0, id="zero"),
    ],
)
def test_the_score_is_that_of_the_policys_category(category: str, value: float) -> None:
    score = read_moderations(body(), policy(category), 3.5)
    assert (score.value, score.tier, score.calibrated, score.latency_ms) == (value, Tier.REMOTE, False, 3.5)
    assert score.evidence is not None
    assert score.evidence.logit is not None


@pytest.mark.parametrize("category", ["fraud", "hat", "violence/graphic", ""])
def test_a_category_that_it_does_not_have_is_an_error_and_not_a_zero(category: str) -> None:
    with pytest.raises(EngineError, match="has no category"):
        read_moderations(body(), policy(category), 0)


def test_a_policy_without_category_is_an_error() -> None:
    with pytest.raises(EngineError, match="policy p must name one"):
        read_moderations(body(), policy(None), 0)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"[]", id="no-object"),
        pytest.param(b'{"results": [], "results": []}', id="key-twice"),
        pytest.param(json.dumps({"results": []}).encode(), id="no-result"),
        pytest.param(json.dumps({"results": [{}, {}]}).encode(), id="two-results"),
        pytest.param(json.dumps({"results": [{"flagged": False}]}).encode(), id="no-scores"),
        pytest.param(body({}), id="empty-scores"),
        pytest.param(body({"hate": 1.5}), id="above-one"),
        pytest.param(body({"hate": -0.1}), id="below-zero"),
        pytest.param(body({"hate": True}), id="truth"),
        pytest.param(body({"hate": "0.1"}), id="text"),
        pytest.param(body({"hate": 0.1, "violence": None}), id="nothing-for-another"),
        pytest.param(b'{"results": [{"category_scores": {"hate": NaN}}]}', id="no-number"),
    ],
)
def test_anything_else_is_no_verdict(answer: bytes) -> None:
    with pytest.raises(VerdictError):
        read_moderations(answer, policy("hate"), 0)


@pytest.fixture
async def asked() -> AsyncIterator[tuple[BaseTestServer, list[dict[str, Any]]]]:
    bodies: list[dict[str, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        bodies.append(await request.json())
        return web.Response(body=body(), content_type="application/json")

    app = web.Application()
    app.router.add_post("/v1/moderations", answer)
    async with TestServer(app) as server:
        yield server, bodies


async def test_it_is_asked_as_openai_says_and_is_an_engine_like_any_other(
    asked: tuple[BaseTestServer, list[dict[str, Any]]],
) -> None:
    server, bodies = asked
    engine = RemoteEngine(RemoteSpec("g", str(server.make_url("/v1")), "omni-moderation-latest", api="moderations"))
    await engine.start()
    try:
        policies = [policy("hate"), policy("fraud")]
        hate, fraud = await engine.judge([Passage("user", "A text.")], policies, deadline=time.monotonic() + 10)
    finally:
        await engine.close()
    assert bodies == [{"model": "omni-moderation-latest", "input": "A text."}] * 2
    assert isinstance(hate, Score)
    assert hate.value == 0.6
    assert isinstance(fraud, EngineError)
    assert engine.ready is False
