"""One guard of a configuration by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config import EncoderGuard
from proxy.config_error import ConfigError
from proxy.loading.single_guard import load_guard

GUARDS = """\
upstreams: {default: {base_url: demo}}
guards:
  small: {engine: encoder, model: embedded, threads: 1, sha256: HASH}
  far: {engine: openai, base_url: "http://127.0.0.1:9/v1", model: m}
default_guard: small
policies: {marks: {text: No marks.}}
routes: [{name: one, upstream: default, input: [{policy: marks, refuse: 0.5}]}]
""".replace("HASH", "ab" * 32)


def test_other_weights_keep_the_guards_settings_but_name_and_hash(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(GUARDS, encoding="utf-8")
    found = load_guard(path, None, 1, weights=tmp_path / "shop.gguf")
    assert isinstance(found.config, EncoderGuard)
    assert (found.name, found.config.threads, found.config.sha256) == ("shop", 1, None)
    assert found.config.model == str(tmp_path / "shop.gguf")


def test_other_weights_for_a_guard_that_is_no_encoder_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(GUARDS, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"guards\.far: is no encoder"):
        load_guard(path, "far", 1, weights=tmp_path / "shop.gguf")
    with pytest.raises(ConfigError, match="no guard is called 'nope'"):
        load_guard(path, "nope", 1)
