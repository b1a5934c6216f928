"""The configuration's sections and the page that documents them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from proxy import config
from proxy.config import Config, Listen, PolicyEntry, Review, RuleEntry, Section, Upstream, check_http_url
from proxy.yaml_file import parse_yaml
from tests.proxy.configs import SMALL
from tools.configuration_page import SECTIONS, docstrings, page

ROOT = Path(__file__).parents[2]

ALL_SECTIONS = [
    kind
    for kind in vars(config).values()
    if isinstance(kind, type) and issubclass(kind, Section) and kind is not Section
]


def test_the_reference_page_is_what_the_docstrings_say() -> None:
    written = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    assert written == page(), "run: python -m tools.configuration_page > docs/configuration.md"


@pytest.mark.parametrize("section", ALL_SECTIONS, ids=lambda s: s.__name__)
def test_every_section_stands_on_the_page_and_every_key_is_explained(section: type[Section]) -> None:
    assert section in [s for _, s in SECTIONS]
    text, meanings = page(), docstrings(section)
    for name in section.model_fields:
        assert f"| `{name}` |" in text
        assert meanings.get(name), f"{section.__name__}.{name} has no docstring"


@pytest.mark.parametrize("section", ALL_SECTIONS, ids=lambda s: s.__name__)
def test_every_section_is_closed_and_frozen(section: type[Section]) -> None:
    assert section.model_config.get("extra") == "forbid"
    assert section.model_config.get("frozen") is True


def test_a_loaded_configuration_cannot_be_changed() -> None:
    loaded = Config.model_validate(parse_yaml(SMALL, {}).data)
    with pytest.raises(ValidationError):
        loaded.listen.port = 1  # type: ignore[misc]  # that it is frozen is what is tested


def test_the_smallest_configuration_has_the_defaults_of_the_design() -> None:
    loaded = Config.model_validate(parse_yaml(SMALL, {}).data)
    route = loaded.routes[0]
    assert (loaded.listen.host, loaded.listen.port, loaded.admin) == ("127.0.0.1", 8080, None)
    assert (route.refusal, route.stream, route.on_error, route.unknown_fields, route.opaque) == (
        "error", "buffer", "refuse", "screen", "refuse",
    )  # fmt: skip
    assert (route.max_body_bytes, route.max_event_bytes) == (10 << 20, 1 << 20)
    assert list(loaded.guards) == ["embedded"]


def test_the_example_of_the_design_is_understood_where_this_version_serves_it() -> None:
    text = """\
listen: {host: 127.0.0.1, port: 8080}
admin:  {host: 127.0.0.1, port: 8081, token_env: SAFEGUARD_ADMIN_TOKEN}
upstreams:
  default: {base_url: "https://api.openai.com/v1", api_key_env: OPENAI_API_KEY, timeout_s: 600}
guards:
  embedded:  {engine: encoder, model: embedded}
  safeguard: {engine: llama, model: gpt-oss-safeguard-20b, effort: low, gpu_layers: auto}
  fleet:     {engine: openai, base_url: "http://127.0.0.1:8000/v1", model: openai/gpt-oss-safeguard-120b, api_key_env: K, timeout_s: 5}
default_guard: embedded
policies:
  hate:            {file: rules/policies/hate.md, category: hate}
  no-competitors:  {text: "Content that praises or recommends a competitor of ACME."}
  secrets:         {detector: secrets}
  marker:          {detector: patterns, patterns: ["ZQ-MARK-7781"], ignore_case: true}
routes:
  - name: eu-shop
    match: {path: /eu/v1/*, headers: {x-region: eu}, models: ["gpt-4o*"]}
    upstream: default
    refusal: error
    stream: buffer
    window_chars: 400
    on_error: refuse
    unknown_fields: screen
    opaque: refuse
    input:
      - {policy: hate, guard: safeguard, flag: 0.5, refuse: 0.9}
      - {policy: secrets, rewrite: 0.5}
      - {policy: no-competitors, refuse: 0.8, mode: shadow}
    output:
      - {policy: hate, refuse: 0.8, scope: [assistant, tool_call]}
"""
    assert Config.model_validate(parse_yaml(text, {}).data).routes[0].name == "eu-shop"


@pytest.mark.parametrize(
    "url",
    ["ftp://h/v1", "h/v1", "//h/v1", "http://", "http:///v1", "file:///etc/passwd", "https://u@h/v1", "https://u:p@h/v1",
     "https://h/v1?key=x", "https://h/v1#x", "javascript:alert(1)", ""],
)  # fmt: skip
def test_a_url_that_calls_must_not_go_to_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must"):
        check_http_url(url)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://h/v1", "https://h/v1"),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1"),
        ("http://[::1]:1", "http://[::1]:1"),
    ],
)
def test_a_url_is_kept_without_its_last_slash(url: str, kept: str) -> None:
    assert Upstream(base_url=url).base_url == kept


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"base_url": "demo", "timeout_s": 0}, id="no-time"),
        pytest.param({"base_url": "demo", "timeout_s": float("nan")}, id="nan"),
        pytest.param({"base_url": "demo", "timeout_s": float("inf")}, id="infinite"),
        pytest.param({"base_url": "demo", "max_connections": 0}, id="no-connections"),
        pytest.param({"base_url": "demo", "api_key_env": "not a name"}, id="no-variable"),
        pytest.param({"base_url": "Demo"}, id="demo-in-capitals"),
    ],
)
def test_an_upstream_that_cannot_work_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Upstream.model_validate(fields)


@pytest.mark.parametrize("value", [0, 1, 0.0, 1.0, 0.5, "0.5"])
def test_a_threshold_may_lie_on_its_bounds_or_be_text_of_the_environment(value: float | str) -> None:
    assert RuleEntry.model_validate({"policy": "p", "refuse": value}).refuse == float(value)


@pytest.mark.parametrize("value", ["yes", "on", "off", "True", 1, 0, None])
def test_only_true_and_false_are_booleans(value: object) -> None:
    for right in (True, "true"):
        assert PolicyEntry.model_validate({"detector": "patterns", "literals": ["a"], "ignore_case": right}).ignore_case
    with pytest.raises(ValidationError, match="must be true or false"):
        PolicyEntry.model_validate({"detector": "patterns", "literals": ["a"], "ignore_case": value})


def test_true_is_no_number() -> None:
    for section, key in ((Listen, "port"), (Upstream, "timeout_s"), (Review, "keep_days")):
        fields: dict[str, Any] = {"base_url": "demo"} if section is Upstream else {}
        with pytest.raises(ValidationError, match="must be a number"):
            section.model_validate(fields | {key: True})


@pytest.mark.parametrize("value", [-0.001, 1.001, float("nan"), float("inf"), True, "half", "1.5", [0.5]])
def test_a_threshold_outside_its_bounds_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        RuleEntry.model_validate({"policy": "p", "refuse": value})


def test_a_detector_takes_its_own_options_only() -> None:
    PolicyEntry.model_validate({"detector": "pii", "kinds": ["email"]})
    for fields in ({"detector": "secrets", "kinds": ["email"]}, {"text": "x", "ignore_case": True},
                   {"detector": "patterns", "literals": ["x"], "category": "hate"}):  # fmt: skip
        with pytest.raises(ValidationError):
            PolicyEntry.model_validate(fields)
