"""Hashes over what a configuration says: what they change with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proxy.configs import MARKER, SMALL, changed, load


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("rewrite: 0.5", "rewrite: 0.5, rewrite_with: text", id="rewrite-with"),
        pytest.param("{text: No marks.}", "{text: No marks., advisory: x}", id="advisory"),
    ],
)
def test_the_hash_of_the_policy_set_changes_with_what_a_rewrite_does(old: str, new: str, tmp_path: Path) -> None:
    text = changed(MARKER, "{text: No marks.}").replace("refuse: 0.5", "rewrite: 0.5")
    if "advisory" in new:
        text = text.replace("rewrite: 0.5", "rewrite: 0.5, rewrite_with: advisory")
    assert load(tmp_path, text).revision != load(tmp_path, text.replace(old, new)).revision
    masks = changed("refuse: 0.5", "rewrite: 0.5")
    assert load(tmp_path, masks).revision != load(tmp_path, masks.replace("0.5", "0.5, restore: true")).revision


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("refuse: 0.5", "refuse: 0.6", id="threshold"),
        pytest.param("refuse: 0.5", "flag: 0.5", id="action"),
        pytest.param("refuse: 0.5", "refuse: 0.5, mode: shadow", id="mode"),
        pytest.param("refuse: 0.5", "refuse: 0.5, scope: [user]", id="scope"),
        pytest.param("refuse: 0.5", "refuse: 0.5, on_error: flag", id="on-error"),
        pytest.param("[MARK]", "[MARK, OTHER]", id="policy"),
        pytest.param("input:", "output:", id="stage"),
        pytest.param("input:", "opaque: flag\n    input:", id="opaque"),
        pytest.param("name: one", "name: two", id="route"),
    ],
)
def test_the_hash_of_the_policy_set_changes_with_whatever_can_change_a_decision(
    old: str, new: str, tmp_path: Path
) -> None:
    before, after = load(tmp_path, SMALL), load(tmp_path, changed(old, new))
    assert before.routes[0].policy_set == load(tmp_path, SMALL).routes[0].policy_set
    assert before.routes[0].policy_set != after.routes[0].policy_set
    assert before.revision != after.revision
    assert len(before.routes[0].policy_set) == 16
