"""``safeguard test``: examples asked of guards, and what is said about them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from models.errors import EngineTimeout
from proxy import commands, policy_tests
from proxy.__main__ import main
from proxy.loading import blueprint
from tests.fakes import FakeEngine, Line

CONFIG = """\
upstreams: {default: {base_url: demo}}
guards:
  first: {engine: encoder}
  second: {engine: encoder}
  spare: {engine: encoder}
default_guard: first
policies:
  hate: {file: hate.md}
  fraud: {text: No fraud., examples: fraud.yaml}
  mark: {detector: patterns, literals: [ZQ-CONTENT], examples: mark.yaml}
  bare: {text: Nothing is said about this.}
routes:
  - name: one
    upstream: default
    input: [{policy: hate, flag: 0.5, refuse: 0.9}, {policy: mark, refuse: 0.5}]
  - name: two
    match: {path: /two/v1/*}
    upstream: default
    input: [{policy: hate, refuse: 0.5, mode: shadow}, {policy: fraud, guard: [first, second], flag: 0.2}]
    output: [{policy: hate, guard: second, refuse: 0.7}, {policy: bare, flag: 0.5}]
"""

HATE = """\
- {text: ZQ-CONTENT one, stage: input, violates: yes}
- {id: polite, text: ZQ-CONTENT two, stage: output, violates: no}
"""
FRAUD = "- {text: ZQ-CONTENT three, stage: input, violates: no}\n- {text: four, stage: output, violates: yes}\n"
MARK = """\
- {text: ZQ-CONTENT, stage: input, violates: yes}
- {text: ZQ-CONTENT, stage: input, route: one, action: refuse}
- {messages: [{role: user, content: hi}], stage: input, route: one, action: flag}
"""


class Folder:
    """A configuration with examples; its guards say what a test wants."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self._capsys = capsys
        self.scripts: dict[str, dict[str, Line]] = {}
        self.built: dict[str, dict[str, Any]] = {}
        self.engines: dict[str, FakeEngine] = {}
        for name, text in (
            ("config.yaml", CONFIG),
            ("hate.md", "No hate."),
            ("hate.examples.yaml", HATE),
            ("fraud.yaml", FRAUD),
            ("mark.yaml", MARK),
        ):
            (path / name).write_text(text, encoding="utf-8")

    def build(self, spec: Any, **options: Any) -> FakeEngine:
        self.built[spec.name] = options
        self.engines[spec.name] = FakeEngine(self.scripts.get(spec.name, {}), name=spec.name)
        return self.engines[spec.name]

    def test(self, *args: str) -> tuple[int, str, str]:
        """Exit code, output, errors."""
        code = main(["test", *args])
        said = self._capsys.readouterr()
        return code, said.out, said.err

    def report(self, *args: str) -> tuple[int, dict[str, Any]]:
        code, out, err = self.test("--json", *args)
        assert err == ""
        return code, json.loads(out)

    def cases(self, *args: str) -> list[tuple[Any, ...]]:
        _, report = self.report(*args)
        return [(c["policy"], c["example"], c["judged_by"], c.get("threshold"), c["result"]) for c in report["cases"]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Folder:
    folder = Folder(tmp_path, capsys)
    monkeypatch.chdir(tmp_path)
    for module in (policy_tests, commands):
        monkeypatch.setattr(module, "configure_logs", lambda **_: None)
    monkeypatch.setattr(blueprint, "build_engine", folder.build)
    return folder


def test_an_example_is_asked_of_every_rule_that_applies_its_policy(folder: Folder) -> None:
    folder.scripts = {"first": {"hate": 0.6}, "second": {"hate": 0.6}}
    assert folder.cases("--policy", "hate", "fraud") == [
        ("hate", 1, "first", 0.5, "passed"),
        ("hate", 2, "second", 0.7, "passed"),
        ("fraud", 1, "first, second", 0.2, "passed"),
        ("fraud", 2, "", None, "skipped"),
    ]


def test_rules_that_judge_alike_are_one_case_and_others_are_more(folder: Folder) -> None:
    _, report = folder.report("--policy", "hate")
    assert report["cases"][0]["routes"] == ["one", "two"]
    folder.path.joinpath("config.yaml").write_text(CONFIG.replace("refuse: 0.5, mode", "refuse: 0.6, mode"))
    assert [case[:4] for case in folder.cases("--policy", "hate")] == [
        ("hate", 1, "first", 0.5),
        ("hate", 1, "first", 0.6),
        ("hate", 2, "second", 0.7),
    ]


@pytest.mark.parametrize(
    ("score", "result", "code"),
    [
        pytest.param(0.5, "passed", 0, id="at-the-threshold"),
        pytest.param(0.49, "failed", 1, id="below"),
        pytest.param(EngineTimeout("late"), "error", 2, id="no-verdict"),
    ],
)
def test_a_score_passes_a_guard_without_one_is_an_error(folder: Folder, score: Line, result: str, code: int) -> None:
    folder.scripts = {"first": {"hate": score}}
    got, report = folder.report("--policy", "hate")
    assert (got, [case["result"] for case in report["cases"]]) == (code, [result, "passed"])
    counts = {"passed": 1, "failed": 0, "errors": 0, "skipped": 0}
    counts[{"error": "errors"}.get(result, result)] += 1
    assert {name: report[name] for name in counts} == counts


def test_a_failure_is_told_also_where_there_are_errors(folder: Folder) -> None:
    folder.scripts = {"first": {"hate": EngineTimeout("late")}, "second": {"hate": 0.9}}
    code, report = folder.report("--policy", "hate")
    assert (code, report["failed"], report["errors"]) == (1, 1, 1)
    assert report["cases"][0]["got"] == "no verdict (timeout)"


def test_a_route_is_tested_with_all_its_rules(folder: Folder) -> None:
    folder.scripts = {"first": {"hate": 0.6}}
    _, report = folder.report("--policy", "mark")
    assert [(c["judged_by"], c["expected"], c["got"], c["result"]) for c in report["cases"]] == [
        ("detector", "violation", "violation", "passed"),
        ("route one", "refuse", "refuse (mark)", "passed"),
        ("route one", "flag", "flag (hate)", "passed"),
    ]
    folder.scripts = {"first": {"hate": EngineTimeout("late")}}
    _, report = folder.report("--policy", "mark")
    assert [case["result"] for case in report["cases"]] == ["passed", "passed", "error"], (
        "the detector refuses before a guard is asked"
    )


def test_a_guard_can_be_tried_that_no_rule_names(folder: Folder) -> None:
    folder.scripts = {"spare": {"hate": 0.6}}
    assert folder.cases("--guard", "spare") == [
        ("hate", 1, "spare", 0.5, "passed"),
        ("hate", 2, "spare", 0.5, "failed"),
        ("fraud", 1, "spare", 0.5, "passed"),
        ("fraud", 2, "spare", 0.5, "failed"),
        ("mark", 1, "", None, "skipped"),
        ("mark", 2, "", None, "skipped"),
        ("mark", 3, "", None, "skipped"),
    ]
    assert list(folder.built) == ["first", "second", "spare"]


def test_a_guard_that_rules_name_is_tried_by_itself_at_their_thresholds(folder: Folder) -> None:
    folder.scripts = {"second": {"fraud": 0.3}}
    assert [c for c in folder.cases("--guard", "second") if c[0] == "fraud"] == [
        ("fraud", 1, "second", 0.2, "failed"),
        ("fraud", 2, "second", 0.5, "failed"),
    ]


def test_guards_are_tested_without_their_canaries_and_closed(folder: Folder) -> None:
    folder.test()
    assert not any(options["canaries"] for options in folder.built.values())
    assert folder.engines["first"].ready is False


@pytest.mark.parametrize(
    ("args", "said"),
    [
        pytest.param(("--policy", "x"), "config.yaml: policies: no policy is called 'x' (known: hate, fraud, mark, bare)", id="policy"),
        pytest.param(("--guard", "x"), "config.yaml:2: guards: no guard is called 'x' (known: first, second, spare)", id="guard"),
        pytest.param(("--policy", "bare"), "config.yaml: policies.bare: has no examples; `examples:` names a file", id="none"),
        pytest.param(("--junit", "no/j.xml"), "--junit no/j.xml: cannot be written: No such file or directory", id="junit"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line(folder: Folder, args: tuple[str, ...], said: str) -> None:
    code, _, err = folder.test(*args)
    assert (code, len(err.splitlines())) == (2, 1)
    assert err.startswith(said), err


@pytest.mark.parametrize(
    ("example", "said"),
    [
        pytest.param("route: x, action: flag", "mark.yaml:1: example 1: route: no route is called 'x' (known: one, two)", id="route"),
        pytest.param("violates: yes, messages: [{role: x, content: ZQ-CONTENT}]", "mark.yaml:1: example 1: messages[0].role: must be one of", id="chat"),
        pytest.param("violates: maybe", "config.yaml:10: policies.mark.examples: mark.yaml:1: example 1: violates: Input", id="file"),
    ],
)  # fmt: skip
def test_an_example_that_cannot_be_used_is_named_and_not_quoted(folder: Folder, example: str, said: str) -> None:
    text = "" if "messages" in example else ", text: ZQ-CONTENT"
    folder.path.joinpath("mark.yaml").write_text(f"- {{stage: input, {example}{text}}}\n")
    code, _, err = folder.test("--policy", "mark")
    assert code == 2
    assert err.startswith(said), err
    assert "ZQ-CONTENT" not in err


def test_no_examples_and_none_that_is_judged_are_no_success(folder: Folder) -> None:
    folder.path.joinpath("mark.yaml").write_text("- {text: x, stage: output, violates: no}\n")
    code, out, err = folder.test("--policy", "mark")
    assert (code, err) == (2, "config.yaml: no example was judged: no rule at stage output applies the policy\n")
    assert "1 skipped" in out
    for name in ("hate.examples.yaml", "fraud.yaml", "mark.yaml"):
        folder.path.joinpath(name).write_text("")
    assert folder.test()[::2] == (2, "config.yaml: policies: none has examples; `examples:` names a file of them\n")


@pytest.mark.parametrize("show", [False, True])
def test_content_is_shown_only_if_that_is_asked_for(folder: Folder, show: bool) -> None:
    folder.scripts = {"first": {"hate": EngineTimeout("late"), "fraud": 0.9}, "second": {"hate": 0.9, "fraud": 0.9}}
    args = ["--junit", "j.xml", *["--show"] * show]
    said = "".join(folder.test(*args)[1:]) + str(folder.report(*args)[1])
    said += folder.path.joinpath("j.xml").read_text(encoding="utf-8")
    assert ("ZQ-CONTENT" in said) is show


def test_the_table_says_score_threshold_and_result(folder: Folder) -> None:
    folder.scripts = {"first": {"hate": 0.25}}
    code, out, _ = folder.test("--policy", "hate")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]
    assert rows == [
        ["hate", "1", "input", "first", "violation", "no violation", "0.2500", "0.5", "failed"],
        ["hate", "2 polite", "output", "second", "no violation", "no violation", "0.0000", "0.7", "passed"],
    ]
    assert (code, out.splitlines()[-1]) == (1, "1 passed, 1 failed, 0 errors, 0 skipped")


def test_the_junit_file_names_the_examples_and_their_lines(folder: Folder) -> None:
    folder.scripts = {"first": {"hate": 0.25}}
    folder.test("--policy", "hate", "--junit", "j.xml")
    root = ET.parse(folder.path / "j.xml").getroot()
    assert [(case.attrib["classname"], case.attrib["name"]) for case in root.iter("testcase")] == [
        ("policy.hate", "example 1, input, first"),
        ("policy.hate", "example 2 polite, output, second"),
    ]
    (failure,) = root.iter("failure")
    assert failure.text == (
        "hate.examples.yaml:1: example 1 of hate: expected violation, got no violation (score 0.2500, threshold 0.5)"
    )


@pytest.fixture
def colliding(folder: Folder) -> Folder:
    """Policies whose texts collide with the form of the verdict."""
    (folder.path / "hate.md").write_text("---\ntitle: Hate\n---\nNo hate.\nOutput: VALID\n", encoding="utf-8")
    config = CONFIG.replace("text: No fraud.", 'text: "No fraud.\\nContent: [INPUT]"')
    (folder.path / "config.yaml").write_text(config, encoding="utf-8")
    return folder


WARNINGS = [
    ("hate.md", 5, "hate", "output-section"),
    ("config.yaml", 9, "fraud", "placeholder"),
]


def test_what_collides_in_a_policy_is_a_warning_with_file_and_line(colliding: Folder) -> None:
    _, report = colliding.report()
    assert [(w["file"], w["line"], w["policy"], w["trouble"]) for w in report["warnings"]] == WARNINGS
    code, _, err = colliding.test("--policy", "fraud")
    assert code == 0, "a warning fails nothing"
    assert err == (
        "warning: config.yaml:9: policy fraud: '[INPUT]' is a placeholder that nothing fills: the content comes in a "
        "message of its own; leave it out (line 2 of its text)\n"
    )


def test_the_configuration_check_warns_too(colliding: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [(w["file"], w["line"], w["policy"], w["trouble"]) for w in report["warnings"]] == WARNINGS
    assert main(["config", "check"]) == 0
    said = capsys.readouterr()
    assert [line.split(": policy")[0] for line in said.err.splitlines()] == [
        "warning: hate.md:5",
        "warning: config.yaml:9",
    ]
    assert "good" in said.out
