"""YAML with line numbers, without YAML 1.1's surprises."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.yaml_file import YamlError, parse_yaml


def data(text: str, **environ: str) -> Any:
    return parse_yaml(text, environ).data


def complaint(text: str, **environ: str) -> tuple[int, str]:
    with pytest.raises(YamlError) as caught:
        parse_yaml(text, environ)
    return caught.value.line, str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("mode: off", "off", id="off-is-a-word"),
        pytest.param("mode: on", "on", id="on-is-a-word"),
        pytest.param("mode: no", "no", id="no-is-a-word"),
        pytest.param("mode: y", "y", id="y-is-a-word"),
        pytest.param("mode: true", True, id="true"),
        pytest.param("mode: False", False, id="false"),
        pytest.param('mode: "true"', "true", id="quoted-true-is-a-word"),
        pytest.param("mode: 12:30:45", "12:30:45", id="sexagesimal-stays-text"),
        pytest.param("mode: 1_000", "1_000", id="underscores-stay-text"),
        pytest.param("mode: 0x1F", "0x1F", id="hexadecimal-stays-text"),
        pytest.param("mode: 2026-11-24", "2026-11-24", id="dates-stay-text"),
        pytest.param("mode: 17", 17, id="integer"),
        pytest.param("mode: -3", -3, id="negative-integer"),
        pytest.param("mode: 0.5", 0.5, id="float"),
        pytest.param("mode: .5", 0.5, id="float-without-leading-zero"),
        pytest.param("mode: 1e3", 1000.0, id="float-with-exponent"),
        pytest.param("mode: .nan", ".nan", id="nan-stays-text"),
        pytest.param("mode: .inf", ".inf", id="infinity-stays-text"),
        pytest.param("mode: ~", None, id="tilde-is-null"),
        pytest.param("mode:", None, id="nothing-is-null"),
        pytest.param("mode: =", "=", id="equals-sign-is-text"),
    ],
)
def test_plain_values_mean_what_they_look_like(text: str, value: object) -> None:
    found = data(text)["mode"]
    assert found == value
    assert type(found) is type(value)


def test_an_empty_file_is_an_empty_mapping() -> None:
    assert data("") == {}
    assert data("# only a comment\n") == {}


def test_every_value_knows_its_line() -> None:
    file = parse_yaml("a:\n  b: 1\n  c:\n    - x\n    - {y: 2,\n       z: 3}\n", {})
    lines = [file.line_of(path) for path in (("a",), ("a", "b"), ("a", "c", 0), ("a", "c", 1, "y"), ("a", "c", 1, "z"))]
    assert lines == [1, 2, 4, 5, 6]


def test_a_missing_value_has_the_line_of_what_stands_around_it() -> None:
    file = parse_yaml("a: 1\nroutes:\n  - name: x\n", {})
    assert file.line_of(("routes", 0, "upstream")) == 3
    assert file.line_of(("nowhere", "at", "all")) == 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("a: 1\nb: 2\na: 3\n", 3, id="top-level"),
        pytest.param("x:\n  fail: closed\n  fail: open\n", 3, id="nested"),
        pytest.param("x: [{a: 1},\n  {b: 1, b: 2}]\n", 2, id="in-a-list"),
        pytest.param('on_error: refuse\n"on_error": forward\n', 2, id="one-quoted"),
        pytest.param('"\\x61": 1\na: 2\n', 2, id="one-escaped"),
    ],
)
def test_a_key_that_stands_twice_is_an_error_that_names_both_lines(text: str, line: int) -> None:
    at, message = complaint(text)
    assert at == line
    assert "duplicate key" in message
    assert "first on line" in message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("a: [1, 2\n", 2, id="unclosed-list"),
        pytest.param("a: 1\n\tb: 2\n", 2, id="tab-as-indent"),
        pytest.param("a: 1\n---\nb: 2\n", 2, id="two-documents"),
        pytest.param("a: *nowhere\n", 1, id="alias-without-anchor"),
        pytest.param("a: 1\nb: !!python/object/apply:os.system echo\n", 2, id="python-tag"),
        pytest.param("a: 1\n? [x, y]\n: 2\n", 2, id="list-as-key"),
        pytest.param("a: &a [*a]\n", 1, id="alias-of-itself"),
        pytest.param("b: 1\na: {<<: [1]}\n", 2, id="merging-a-number"),
        pytest.param("b: 1\na: " + "9" * 5000, 2, id="number-of-thousands-of-digits"),
        pytest.param("b: 1\na: !!int x", 2, id="no-number"),
        pytest.param("b: 1\na: !!bool perhaps", 2, id="neither-true-nor-false"),
        pytest.param("b: 1\na: !!timestamp soon", 2, id="no-time"),
    ],
)
def test_what_is_not_usable_yaml_is_an_error_with_its_line(text: str, line: int) -> None:
    assert complaint(text)[0] == line


def test_a_character_that_yaml_forbids_is_an_error_with_its_line() -> None:
    line, message = complaint("a: 1\nb: \0\n")
    assert line == 2
    assert "not valid YAML" in message


def test_a_python_tag_on_a_list_builds_nothing() -> None:
    assert data('a: !!python/object/apply:os.system ["true"]') == {"a": ["true"]}


def test_an_alias_bomb_is_refused_by_its_number_of_values() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))
    assert "an alias expands too often" in complaint(bomb)[1]


def test_a_bomb_of_merge_keys_is_refused_too() -> None:
    bomb = "a0: &a0 {k: 1}\n"
    bomb += "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 9))
    assert "an alias expands too often" in complaint(bomb)[1]


def test_a_merge_that_contains_itself_is_an_error() -> None:
    assert "deep" in complaint("a: &a {<<: *a}\n")[1]


def test_nesting_without_end_is_an_error() -> None:
    assert "deep" in complaint("[" * 5000)[1]


def test_merged_keys_give_way_to_what_stands_here() -> None:
    text = "base: &base {a: 1, b: 2}\nhere:\n  b: 3\n  <<: *base\n"
    assert data(text)["here"] == {"a": 1, "b": 3}


def test_the_first_of_several_merged_mappings_wins() -> None:
    text = "x: &x {a: 1}\ny: &y {a: 2, b: 2}\nhere: {<<: [*x, *y]}\n"
    assert data(text)["here"] == {"a": 1, "b": 2}


def test_a_mapping_with_a_merge_can_be_named_again_by_an_alias() -> None:
    text = "base: &base {a: 1}\none: &one\n  <<: *base\n  a: 2\ntwo: *one\nthree: {<<: *one}\n"
    found = data(text)
    assert found["one"] == found["two"] == found["three"] == {"a": 2}


def test_a_merged_value_keeps_the_line_where_it_was_written() -> None:
    file = parse_yaml("base: &base\n  a: 1\nhere:\n  <<: *base\n  b: 2\n", {})
    assert file.line_of(("here", "a")) == 2
    assert file.line_of(("here", "b")) == 5


@pytest.mark.parametrize(
    ("text", "environ", "value"),
    [
        pytest.param("${NAME}", {"NAME": "x"}, "x", id="set"),
        pytest.param("a-${NAME}-b-${NAME}", {"NAME": "x"}, "a-x-b-x", id="within-text"),
        pytest.param('"${NAME:-demo}"', {}, "demo", id="default"),
        pytest.param('"${NAME:-demo}"', {"NAME": "x"}, "x", id="set-wins-over-default"),
        pytest.param('"${NAME:-demo}"', {"NAME": ""}, "demo", id="empty-takes-the-default"),
        pytest.param('"${NAME:-}"', {}, "", id="empty-default"),
        pytest.param('"${NAME:-http://h:1/v1}"', {}, "http://h:1/v1", id="default-with-colons"),
        pytest.param("$NAME", {"NAME": "x"}, "$NAME", id="without-braces-is-text"),
        pytest.param('"${NAME}"', {"NAME": "${OTHER}"}, "${OTHER}", id="values-are-not-filled-again"),
        pytest.param('"${NAME}"', {"NAME": "a: [b"}, "a: [b", id="values-are-not-yaml"),
    ],
)
def test_variables_are_filled_from_the_environment(text: str, environ: dict[str, str], value: str) -> None:
    assert data(f"a: {text}", **environ)["a"] == value


def test_keys_are_not_filled() -> None:
    assert data('"${NAME}": 1', NAME="x") == {"${NAME}": 1}


def test_a_variable_that_is_not_set_is_an_error_with_name_and_line() -> None:
    line, message = complaint('a: 1\nb:\n  - "${MISSING_NAME}"\n')
    assert line == 3
    assert "MISSING_NAME" in message
