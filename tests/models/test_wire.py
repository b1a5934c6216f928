from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from models import wire
from models.attention import FlashAttention, KvType
from models.engine import Effort, GuardPolicy, Passage, Score, Tier
from models.errors import ERRORS_BY_CODE, EngineError, EngineTimeout
from models.evidence import Evidence, Kind
from models.specs import LocalSpec
from models.usage import Usage

POLICIES = [GuardPolicy(f"p{i}", f"r{i}", f"text {i}", category="hate" if i else None) for i in range(3)]


def frames(data: bytes) -> list[wire.Message]:
    return wire.FrameReader().feed(data)


def test_messages_survive_any_cut_of_the_stream() -> None:
    messages: list[wire.Message] = [{"type": "cancel", "id": 1}, {"type": "x", "text": "é\0" * 50}, {"type": "y"}]
    data = b"".join(map(wire.pack, messages))
    for size in (1, 2, 3, 7, len(data)):
        reader = wire.FrameReader()
        received = []
        for start in range(0, len(data), size):
            received += reader.feed(data[start : start + size])
        assert received == messages


@pytest.mark.parametrize(
    "data",
    [
        pytest.param((wire.MAX_FRAME_BYTES + 1).to_bytes(4, "big"), id="too-long"),
        pytest.param(b"\0\0\0\1{", id="not-json"),
        pytest.param(b"\0\0\0\2[]", id="not-an-object"),
        pytest.param(b"\0\0\0\2{}", id="no-type"),
        pytest.param(b"\0\0\0\0", id="empty"),
    ],
)
def test_a_frame_that_is_not_a_message_ends_the_stream(data: bytes) -> None:
    with pytest.raises(wire.WireError):
        frames(data)


def test_text_that_is_not_unicode_is_refused_without_quoting_it() -> None:
    with pytest.raises(wire.WireError) as caught:
        wire.pack({"type": "job", "text": "secret \ud800"})
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_message_over_the_limit_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_FRAME_BYTES", 20)
    with pytest.raises(wire.WireError):
        wire.pack({"type": "job", "text": "x" * 20})


def test_a_spec_survives_the_crossing() -> None:
    spec = LocalSpec(
        "g", "llama", "m.gguf", effort=Effort.HIGH, gpu_layers=7, threads=2, sha256="0" * 64, check_memory=False,
        batch_tokens=64, flash_attention=FlashAttention.OFF, kv_type=KvType.BF16,
    )  # fmt: skip
    (message,) = frames(wire.pack(wire.load_message(spec, "/m.gguf", None)))
    assert wire.read_spec(message) == spec
    assert isinstance(wire.read_spec(message).effort, Effort)
    assert isinstance(wire.read_spec(message).kv_type, KvType)


def test_a_policy_crosses_once_and_is_then_a_number() -> None:
    sender, receiver = wire.PolicySender(), wire.PolicyReceiver()
    passages = [Passage("user", "hello"), Passage("assistant", "hi", context=True)]
    first = sender.job_message(1, passages, POLICIES[:2], 5.0)
    second = sender.job_message(2, passages, [POLICIES[2], POLICIES[0]], 6.0)
    for message, policies in ((first, POLICIES[:2]), (second, [POLICIES[2], POLICIES[0]])):
        (received,) = frames(wire.pack(message))
        assert receiver.read_job(received) == (passages, policies)
    assert [policy["name"] for policy in second["new"].values()] == ["p2"]


def test_the_table_of_policies_starts_again_when_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_POLICIES", 4)
    sender, receiver = wire.PolicySender(), wire.PolicyReceiver()
    for job_id in range(20):
        policies = [GuardPolicy("p", f"r{job_id}", "text"), POLICIES[0]]
        (received,) = frames(wire.pack(sender.job_message(job_id, [], policies, 0.0)))
        assert receiver.read_job(received)[1] == policies
        assert len(receiver._policies) <= 4


def test_scores_and_errors_survive_the_crossing() -> None:
    score = Score(0.1234567890123, Tier.REASONED, True, "because", 12, 3.5, pass_below=0.02)
    (message,) = frames(wire.pack(wire.answer_message(1, [score, EngineTimeout("late")])))
    first, second = wire.read_entries(message, 2)
    assert first == score
    assert isinstance(second, EngineTimeout)
    assert str(second) == "late"


@pytest.mark.parametrize("code", sorted(ERRORS_BY_CODE))
def test_every_error_keeps_its_class(code: str) -> None:
    (message,) = frames(wire.pack(wire.answer_message(1, [ERRORS_BY_CODE[code]("why")])))
    assert type(wire.read_entries(message, 1)[0]) is ERRORS_BY_CODE[code]


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf"), None, True, "high", [0.5]], ids=repr)
def test_a_value_that_is_not_a_probability_becomes_an_error(value: object) -> None:
    entry = {"value": value, "tier": "direct"}
    (message,) = frames(wire.pack({"type": "answer", "id": 1, "entries": [entry]}))
    assert isinstance(wire.read_entries(message, 1)[0], EngineError)


@pytest.mark.parametrize("limit", [-0.1, 1.1, 1, True, "low"], ids=repr)
def test_a_limit_that_is_no_share_becomes_an_error(limit: object) -> None:
    entry = {"value": 0.5, "tier": "direct", "pass_below": limit}
    assert isinstance(wire.read_entries({"type": "answer", "entries": [entry]}, 1)[0], EngineError)


@pytest.mark.parametrize("entry", [None, [], 7, {}, {"value": 0.5}, {"value": 0.5, "tier": "oracle"}, {"error": []}])
def test_an_entry_that_cannot_be_read_becomes_an_error(entry: object) -> None:
    assert isinstance(wire.read_entries({"type": "answer", "entries": [entry]}, 1)[0], EngineError)


@pytest.mark.parametrize("entries", [None, [], [{}, {}], "01"], ids=repr)
def test_an_answer_needs_one_entry_per_policy(entries: object) -> None:
    with pytest.raises(wire.WireError):
        wire.read_entries({"type": "answer", "id": 1, "entries": entries}, 1)


EVIDENCE = Evidence(
    logit=-2.5, kind=Kind.RUNAWAY, violates=None, n_chars=90, n_tokens=20, runaway=True, n_drift_words=3
)


@pytest.mark.parametrize(
    "evidence",
    [
        pytest.param(Evidence(logit=3.0), id="encoder"),
        pytest.param(EVIDENCE, id="trace"),
        pytest.param(Evidence(violates=True, names_label=True), id="label-alone"),
        pytest.param(None, id="none"),
    ],
)
def test_evidence_survives_the_crossing(evidence: Evidence | None) -> None:
    score = Score(0.5, Tier.REASONED, evidence=evidence)
    (message,) = frames(wire.pack(wire.answer_message(1, [score])))
    assert wire.read_entries(message, 1) == [score]


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({"logit": "high"}, id="text-for-a-number"),
        pytest.param({"logit": True}, id="truth-for-a-number"),
        pytest.param({"kind": "oracle"}, id="unknown-kind"),
        pytest.param({"kind": None}, id="no-kind"),
        pytest.param({"violates": 1}, id="number-for-a-truth"),
        pytest.param({"n_chars": -1}, id="negative-length"),
        pytest.param({"n_chars": None}, id="no-length"),
        pytest.param({"n_chars": 2.5}, id="half-a-character"),
        pytest.param({"n_drift_words": -1}, id="negative-count"),
        pytest.param({"runaway": None}, id="no-truth"),
        pytest.param({"text": "what the model said"}, id="another-field"),
    ],
)
def test_evidence_that_cannot_be_read_makes_the_entry_an_error(broken: dict[str, Any]) -> None:
    entry = asdict(Score(0.5, Tier.REASONED)) | {"evidence": asdict(EVIDENCE) | broken}
    (message,) = frames(wire.pack({"type": "answer", "id": 1, "entries": [entry]}))
    assert isinstance(wire.read_entries(message, 1)[0], EngineError)


@pytest.mark.parametrize("missing", sorted(asdict(EVIDENCE)))
def test_evidence_without_one_of_its_fields_makes_the_entry_an_error(missing: str) -> None:
    fields = {name: value for name, value in asdict(EVIDENCE).items() if name != missing}
    entry = asdict(Score(0.5, Tier.REASONED)) | {"evidence": fields}
    assert isinstance(wire.read_entries({"type": "answer", "entries": [entry]}, 1)[0], EngineError)


@pytest.mark.parametrize("logit", [float("nan"), float("inf"), float("-inf")])
def test_evidence_holds_no_number_that_is_not_finite(logit: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Evidence(logit=logit)


def test_what_was_computed_crosses_with_an_answer() -> None:
    (message,) = frames(wire.pack(wire.answer_message(1, [], Usage(3, 500, 0.25))))
    assert wire.read_usage(message) == Usage(3, 500, 0.25)
    (message,) = frames(wire.pack(wire.answer_message(1, [])))
    assert wire.read_usage(message) is None


GOOD_USAGE: dict[str, object] = {"n_calls": 3, "n_tokens": 500, "seconds": 0.25}
BAD_USAGES: tuple[object, ...] = (
    None,
    7,
    [],
    {},
    "much",
    {"n_calls": 3, "n_tokens": 500},
    GOOD_USAGE | {"n_calls": -1},
    GOOD_USAGE | {"n_calls": True},
    GOOD_USAGE | {"n_calls": 2**60},
    GOOD_USAGE | {"n_tokens": 1.5},
    GOOD_USAGE | {"n_tokens": "500"},
    GOOD_USAGE | {"seconds": -0.1},
    GOOD_USAGE | {"seconds": None},
    GOOD_USAGE | {"seconds": float("inf")},
    GOOD_USAGE | {"seconds": float("nan")},
)


@pytest.mark.parametrize("usage", BAD_USAGES, ids=str)
def test_a_usage_that_cannot_be_one_is_left_out_and_the_verdicts_stay(usage: object) -> None:
    message = wire.answer_message(1, [Score(0.5, Tier.DIRECT)]) | {"usage": usage}
    assert wire.read_usage(message) is None
    assert wire.read_entries(message, 1) == [Score(0.5, Tier.DIRECT)]
