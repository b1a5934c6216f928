"""Configurations for tests: as short as they can be."""

from __future__ import annotations

import struct
from pathlib import Path

import yaml

from proxy.config import Route
from proxy.config_error import ConfigError
from proxy.loading.drawing import load_config
from proxy.loading.loaded import Loaded, LoadedRoute

SMALL = """\
upstreams:
  default: {base_url: demo}
policies:
  marker: {detector: patterns, literals: [MARK]}
routes:
  - name: one
    upstream: default
    input:
      - {policy: marker, refuse: 0.5}
"""
MARKER = "{detector: patterns, literals: [MARK]}"
"""The policy of `SMALL`."""


def changed(old: str, new: str) -> str:
    """`SMALL` with one place changed."""
    assert SMALL.count(old) == 1
    return SMALL.replace(old, new)


def load(tmp_path: Path, text: str, **environ: str) -> Loaded:
    """Load a configuration from a text."""
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, environ)


def complaint(tmp_path: Path, text: str, **environ: str) -> str:
    """What is said about a configuration that is wrong, from the line number on."""
    try:
        load(tmp_path, text, **environ)
    except ConfigError as e:
        message = str(e)
        assert len(message.splitlines()) == 1, message
        assert message.startswith(f"{tmp_path / 'c.yaml'}:"), message
        return message.removeprefix(f"{tmp_path / 'c.yaml'}:")
    raise AssertionError("the configuration was accepted")


def routes(tmp_path: Path, *sections: dict[str, object]) -> tuple[LoadedRoute, ...]:
    """Loaded routes without rules, named ``r0``, ``r1``, …"""
    data = {
        "upstreams": {"default": {"base_url": "demo"}},
        "routes": [{"name": f"r{i}", "upstream": "default", **section} for i, section in enumerate(sections)],
    }
    return load(tmp_path, yaml.safe_dump(data)).routes


def route(**options: object) -> Route:
    """One route's section."""
    return Route.model_validate({"name": "r", "upstream": "default", **options})


def head_of_gguf(architecture: str) -> str:
    """What a model file says of itself, and nothing behind it; all of it ASCII."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    pair = text("general.architecture") + struct.pack("<I", 8) + text(architecture)
    return (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + pair).decode("ascii")
