"""The section `review`, and rules that wait for a reviewer."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.app import build_app
from proxy.audit.entry import Keep
from proxy.config_error import ConfigError
from proxy.loading.blueprint import Blueprint
from proxy.loading.drawing import read_blueprint
from proxy.reload_record import Outcome
from proxy.review.review import review_of
from tests.proxy.configs import SMALL, complaint, load

RULE = "{policy: marker, refuse: 0.5}"
HELD = SMALL.replace(RULE, "{policy: marker, flag: 0.5, hold: true}")
QUEUE = "review: {}\n"


def test_without_the_section_there_is_no_queue(tmp_path: Path) -> None:
    assert review_of(load(tmp_path, SMALL)) is None


def test_content_is_redacted_unless_somebody_says_otherwise(tmp_path: Path) -> None:
    config = load(tmp_path, SMALL + QUEUE).config.review
    assert config is not None
    assert (config.content, config.keep_days, config.on_review_error) == (Keep.REDACTED, 90, "refuse")


def test_the_queue_lies_beside_the_configuration(tmp_path: Path) -> None:
    review = review_of(load(tmp_path, SMALL + "review: {path: x/y.db, max_held: 3, on_review_error: forward}\n"))
    assert review is not None
    assert (review.queue.path, review.max_held, review.must) == (tmp_path / "x" / "y.db", 3, False)


@pytest.mark.parametrize(
    ("more", "section", "seconds"),
    [("", QUEUE, 30.0), ("", "review: {hold_s: 5}\n", 5.0), (", hold_s: 7", "review: {hold_s: 5}\n", 7.0)],
)
def test_a_rule_waits_as_long_as_it_says_or_as_the_section_does(
    tmp_path: Path, more: str, section: str, seconds: float
) -> None:
    loaded = load(tmp_path, HELD.replace("hold: true", f"hold: true{more}") + section)
    assert loaded.routes[0].input.rules[0].hold_s == seconds


def test_a_rule_that_waits_is_another_set_of_policies(tmp_path: Path) -> None:
    sets = {load(tmp_path, text + QUEUE).revision for text in (HELD, HELD.replace(", hold: true", ""))}
    assert len(sets) == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(HELD, "hold: there is no review queue: add a section `review`", id="no-queue"),
        pytest.param(
            HELD.replace("flag", "refuse") + QUEUE, "hold: what is flagged waits, so the rule needs a threshold `flag`",
            id="no-flag",
        ),
        pytest.param(
            HELD.replace("hold: true", "hold_s: 5") + QUEUE, "hold_s: belongs to `hold: true`", id="how-long-without-what"
        ),
        pytest.param(HELD.replace("hold: true", "hold: true, hold_s: 0") + QUEUE, "greater than 0", id="no-time"),
        pytest.param(
            HELD.replace("input:", "output:") + "    stream: window\n" + QUEUE,
            "hold: with `stream: window` text has left before all of it could be reviewed; use buffer",
            id="window",
        ),
        pytest.param(
            HELD.replace("input:", "output:") + "    stream: deliver_first\n" + QUEUE,
            "hold: with `stream: deliver_first` text has left before",
            id="deliver-first",
        ),
        pytest.param(
            HELD + "    overlap: true\n" + QUEUE,
            "hold: with `overlap: true` the request is sent before it could be reviewed",
            id="overlap",
        ),
        pytest.param(SMALL + "review: {content: some}\n", "review.content", id="content"),
        pytest.param(SMALL + "review: {paht: x}\n", "review.paht: unknown key", id="unknown-key"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_told_with_its_place(tmp_path: Path, text: str, reason: str) -> None:
    assert reason in complaint(tmp_path, text)


def test_input_rules_may_wait_where_answers_come_in_windows(tmp_path: Path) -> None:
    assert load(tmp_path, HELD + "    stream: window\n" + QUEUE).routes[0].input.rules[0].hold_s == 30


async def test_what_belongs_to_the_rules_can_change_while_the_proxy_runs(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"

    def read() -> Blueprint:
        return read_blueprint(path, {})

    text = HELD + "review: {hold_s: 5}\n"
    path.write_text(text)
    app = build_app(read().build({}), path, read)
    assert app.reloader is not None
    assert app.review is not None
    await app.review.start()
    try:
        path.write_text(text.replace("5}", "6, content: none}"))
        assert await app.reloader.reload(read()) is Outcome.TAKEN
        assert app.loaded.routes[0].input.rules[0].hold_s == 6
        for other in ("review: {path: other.db}\n", "review: {max_held: 5}\n"):
            path.write_text(HELD + other)
            with pytest.raises(ConfigError, match=r"review\.\w+: cannot change while the proxy runs"):
                await app.reloader.reload(read())
        path.write_text(SMALL)
        with pytest.raises(ConfigError, match="review: cannot change while the proxy runs"):
            await app.reloader.reload(read())
    finally:
        await app.close()
