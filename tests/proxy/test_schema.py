"""The walk that cleans an object and collects its text."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.chat_api import LOGIT_BIAS
from proxy.schema import (
    DROP,
    MAX_DEPTH,
    MAX_LEAVES,
    MAX_VALUES,
    UNKNOWN,
    Anything,
    Array,
    ByType,
    ByWord,
    Choice,
    Collection,
    Dropped,
    Flag,
    Forced,
    JsonText,
    Misfit,
    Number,
    Object,
    Opaque,
    Refused,
    Spec,
    Text,
    choice,
    holds_file,
    read_decoded,
)
from proxy.strict_json import dump_json
from rules.content import LeafKind, Path, Surface, show_path
from rules.detectors.pii import PiiDetector
from tests.proxy.examples import strings

USER = Surface.USER


def walk(spec: Spec, value: Any, *, strict: bool = True, screen: bool = True) -> tuple[Any, list[str]]:
    """What crosses, and the texts that were collected."""
    into = Collection(strict, screen)
    return spec.clean(value, (), into), [leaf.text for leaf in into.leaves]


def misfit(spec: Spec, value: Any, *, screen: bool = True) -> Misfit:
    with pytest.raises(Misfit) as caught:
        spec.clean(value, (), Collection(True, screen))
    return caught.value


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        pytest.param(Text(USER), 5, id="text-number"),
        pytest.param(Text(USER), ["a"], id="text-list"),
        pytest.param(Text(USER, nullable=False), None, id="text-null"),
        pytest.param(Choice(frozenset(("a", "b")), closed=True), "c", id="choice-other-word"),
        pytest.param(Choice(frozenset(("a", "b")), closed=True), "A", id="choice-case"),
        pytest.param(Choice(frozenset(("a", "b")), closed=True), None, id="choice-null"),
        pytest.param(choice("a"), 1, id="open-choice-number"),
        pytest.param(Number(0, 1), 2, id="number-too-large"),
        pytest.param(Number(0, 1), -1, id="number-too-small"),
        pytest.param(Number(), True, id="number-boolean"),
        pytest.param(Number(), "1", id="number-text"),
        pytest.param(Number(whole=True), 1.0, id="A12-float-for-an-integer"),
        pytest.param(Flag(), "true", id="A14-flag-text"),
        pytest.param(Flag(), 1, id="A14-flag-number"),
        pytest.param(Flag(nullable=False), None, id="A14-flag-null"),
        pytest.param(Refused("why"), None, id="refused-null"),
        pytest.param(Refused("why"), "x", id="refused"),
        pytest.param(Anything(USER, dict), ["x"], id="anything-of-another-type"),
        pytest.param(Object({}), "x", id="object-text"),
        pytest.param(Object({}, ("a",)), {}, id="object-without-a-required-field"),
        pytest.param(Object({"a": Text(USER)}, ("a",)), {"a": None}, id="object-with-null-for-a-required-field"),
        pytest.param(Array(Text(USER)), "x", id="array-text"),
        pytest.param(Array(Text(USER)), {"0": "x"}, id="array-object"),
        pytest.param(ByType(text=Text(USER)), ["x"], id="by-type-list"),
        pytest.param(ByType(text=Text(USER)), 1, id="by-type-number"),
        pytest.param(ByWord("t", {"a": Text(USER)}), {"t": "b"}, id="by-word-other"),
        pytest.param(ByWord("t", {"a": Text(USER)}), {}, id="by-word-missing"),
        pytest.param(ByWord("t", {"a": Text(USER)}), {"t": ["a"]}, id="by-word-list"),
        pytest.param(ByWord("t", {"a": Text(USER)}), None, id="by-word-null"),
        pytest.param(JsonText(USER), {"a": 1}, id="json-text-object"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_in_a_request_and_dropped_in_a_response(spec: Spec, value: Any) -> None:
    misfit(spec, value)
    assert walk(spec, value, strict=False) == (DROP, [])


@pytest.mark.parametrize(
    ("spec", "value", "texts"),
    [
        pytest.param(Text(USER), "x", ["x"], id="text"),
        pytest.param(Text(USER), "", [""], id="empty-text"),
        pytest.param(Text(USER), None, [], id="null"),
        pytest.param(choice("a"), "a", [], id="known-word"),
        pytest.param(choice("a"), "other", ["other"], id="another-word-is-judged"),
        pytest.param(Number(0, 9, whole=True), 9, [], id="number"),
        pytest.param(Flag(), False, [], id="flag"),
        pytest.param(Array(Text(USER)), ["a", "b"], ["a", "b"], id="array"),
        pytest.param(Anything(USER), {"k": ["v", 1, None, {"l": "w"}]}, ["k", "v", "l", "w"], id="keys-and-strings"),
        pytest.param(Object({"a": Text(USER)}), {"a": "x"}, ["x"], id="object"),
        pytest.param(ByWord("t", {"a": Object({"t": choice("a")})}, default="a"), {}, [], id="default-word"),
        pytest.param(JsonText(USER), '{"a": "b"}', ['{"a": "b"}'], id="json-text"),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_what_fits_crosses_unchanged_and_its_text_is_collected(
    spec: Spec, value: Any, texts: list[str], strict: bool
) -> None:
    assert walk(spec, value, strict=strict) == (value, texts)


def test_dropped_never_crosses_and_forced_always_is_what_it_is() -> None:
    spec = Object({"a": Dropped(), "b": Forced(False)})
    assert walk(spec, {"a": "x", "b": "y"}) == ({"b": False}, [])


def test_an_unknown_field_is_judged_as_metadata_with_all_its_keys() -> None:
    into = Collection(strict=True)
    value = {"x": {"y": ["z"]}}
    assert Object({}).clean(value, (), into) == value
    assert [(leaf.text, leaf.kind, leaf.surface) for leaf in into.leaves] == [
        ("x", LeafKind.KEY, Surface.METADATA),
        ("y", LeafKind.KEY, Surface.METADATA),
        ("z", LeafKind.TEXT, Surface.METADATA),
    ]
    assert all(leaf.is_unknown for leaf in into.leaves), "no rule's scope may leave it out"


@pytest.mark.parametrize(
    ("number", "texts", "digits"),
    [
        pytest.param(4111111111111111, ["4111111111111111"], [], id="card"),
        pytest.param(4111111111111111.0, ["4111111111111111"], [], id="card as a float"),
        pytest.param(411111111111111.1, ["411111111111111.1"], ["4111111111111111"], id="card with a point"),
        pytest.param(0.4111111111111111, ["0.4111111111111111"], ["4111111111111111"], id="fraction"),
        pytest.param(-4.111111111111111e-9, ["-4.111111111111111e-09"], ["4111111111111111"], id="exponent"),
        pytest.param(-1234567, ["-1234567"], [], id="negative"),
        pytest.param(1000000, ["1000000"], [], id="seven digits"),
        pytest.param(999_999, [], [], id="token id"),
        pytest.param(-999_999.0, [], [], id="negative token id as a float"),
        pytest.param(0.123456, [], [], id="six digits"),
        pytest.param(1e-30, [], [], id="one digit"),
        pytest.param(True, [], [], id="boolean"),
    ],
)
def test_a_long_number_where_anything_may_stand_is_judged(number: float, texts: list[str], digits: list[str]) -> None:
    into = Collection(strict=True)
    assert Anything(USER).clean([number], ("x",), into) == [number]
    assert [(leaf.text, leaf.kind) for leaf in into.leaves] == [(text, LeafKind.KEY) for text in texts]
    assert walk(Object({}), {"unknown": {"k": number}})[1] == ["unknown", "k", *texts, *digits]


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        pytest.param([4111, 1111, 1111, 1111], ["4111 1111 1111 1111"], id="four-groups"),
        pytest.param([[4111, 1111.0], [1111], 1111], ["4111 1111 1111 1111"], id="lists-in-a-list"),
        pytest.param({"a": [{"b": [1111, 222]}]}, ["a", "b", "1111 222"], id="deep"),
        pytest.param([1111, 22], [], id="six-digits"),
        pytest.param([1234567], ["1234567"], id="one-number"),
        pytest.param([True, 111111, False], [], id="no-numbers"),
        pytest.param([], [], id="none"),
    ],
)
def test_a_short_list_of_whole_numbers_in_an_unknown_field_is_judged_as_one(value: Any, texts: list[str]) -> None:
    assert walk(Object({}), {"x": value}) == ({"x": value}, ["x", *texts])
    assert walk(Anything(USER), value)[1] == [text for text in texts if " " not in text]


@pytest.mark.parametrize("value", [4111111111111111, 411111111111111.1, [4111, 1111, 1111, 1111]])
def test_a_card_s_number_is_found_however_an_unknown_field_holds_it(value: Any) -> None:
    assert any(PiiDetector().find(text) for text in walk(Object({}), {"x": value})[1])


def test_an_unknown_field_is_refused_where_the_route_says_so() -> None:
    spec = Object({"a": Object({})})
    caught = misfit(spec, {"a": {"nope": 1}}, screen=False)
    assert (show_path(caught.path), caught.code) == ("a.nope", "unknown_field")


@pytest.mark.parametrize(
    "key", ["Model", "MODEL", " model", "model\n", "mo\u200bdel", "ｍodel", "mоdel", "ſtore", "\u212aey"]
)
def test_A16_another_spelling_of_a_known_field_is_refused(key: str) -> None:
    spec = Object({"model": Text(USER), "store": Forced(False), "key": Refused("why")})
    assert misfit(Object({"a": spec}), {"a": {"model": "m", key: "x"}}).code == "unknown_field"
    assert walk(spec, {key: "x"}, strict=False) == ({}, [])


def test_an_unknown_field_of_a_response_is_dropped() -> None:
    assert walk(Object({"a": Text(USER)}), {"a": "x", "b": "y"}, strict=False) == ({"a": "x"}, ["x"])


@pytest.mark.parametrize("key", ["with spaces", "\ud800", "a\x00", "x" * 100, "é"])
@pytest.mark.parametrize("screen", [True, False])
def test_a_complaint_can_be_sent_and_does_not_repeat_an_odd_key(key: str, screen: bool) -> None:
    spec = Object({"a": Refused("why"), "b": Anything(USER)})
    for value in ({key: 1}, {"b": {key: "\x00"}}, {key: {"c": "\x00"}}):
        try:
            walk(spec, value, screen=screen)
        except Misfit as e:
            shown = show_path(e.path) + str(e)
            assert key not in shown
            dump_json(shown)


@pytest.mark.parametrize("text", ["a\x00", "a\x1b", "\ud800", "\udfff x"])
def test_a_string_without_a_safe_reading_is_refused_in_a_request(text: str) -> None:
    for spec, value in ((Text(USER), text), (Anything(USER), [text]), (Anything(USER), {text: 1}), (Opaque(), [text])):
        assert misfit(spec, value).code == "invalid_string"


def test_half_an_emoji_in_a_response_is_replaced_and_what_crosses_is_what_is_judged() -> None:
    for value in ("a\ud83d", ["\ude00"], {"\ud83d": "\ude00"}):
        out, texts = walk(Anything(USER), value, strict=False)
        dump_json(out)
        assert list(strings(out)) == texts


def test_paths_name_places_in_what_crosses_also_behind_dropped_items() -> None:
    spec = Array(Object({"t": Text(USER)}))
    into = Collection(strict=False)
    out = spec.clean([5, None, {"t": "a"}, "x", {"t": "b"}], (), into)
    assert out == [{"t": "a"}, {"t": "b"}]
    for leaf in into.leaves:
        place: Any = out
        for step in leaf.path:
            place = place[step]
        assert place == leaf.text


@pytest.mark.parametrize("opening", ["[", '{"k":'])
def test_nesting_has_a_limit(opening: str) -> None:
    value: Any = "x"
    for _ in range(MAX_DEPTH + 2):
        value = [value] if opening == "[" else {"k": value}
    assert misfit(Anything(USER), value).code == "too_deep"
    assert misfit(Opaque(), value).code == "too_deep"
    assert misfit(Object({}), {"unknown": value}).code == "too_deep"


def test_the_number_of_strings_has_a_limit() -> None:
    assert misfit(Anything(USER), ["x"] * (MAX_LEAVES + 1)).code == "too_many_strings"
    assert misfit(Array(Text(USER), 10), ["x"] * 11).code == "invalid_length"
    assert misfit(Array(Text(USER), min_items=1), []).code == "invalid_length"


@pytest.mark.parametrize(
    "value",
    [
        pytest.param([1] * (MAX_VALUES + 1), id="numbers"),
        pytest.param([[]] * (MAX_VALUES + 1), id="lists"),
        pytest.param([[None] * 50_000] * 4, id="together"),
        pytest.param([{}, *[[True] * 1000] * 200], id="beside-objects"),
    ],
)
@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(Anything(USER), id="anything"),
        pytest.param(Opaque(), id="opaque"),
        pytest.param(UNKNOWN, id="unknown"),
        pytest.param(Array(Array(Anything(USER), 10**6), 10**6), id="arrays"),
    ],
)
def test_the_number_of_values_has_a_limit(spec: Spec, value: Any) -> None:
    if isinstance(spec, Array):
        value = [item for item in value if isinstance(item, list)] or [value]
    assert misfit(spec, value).code == "too_many_values"


def test_the_number_of_fields_has_a_limit() -> None:
    spec = Array(Object({name: Flag() for name in "abcdefgh"}), 10**6)
    assert misfit(spec, [dict.fromkeys("abcdefgh", True)] * (MAX_VALUES // 8)).code == "too_many_values"
    assert misfit(LOGIT_BIAS, {str(i): 1 for i in range(MAX_VALUES + 1)}).code == "too_many_values"
    text = json.dumps(["\u00e9", *[1] * MAX_VALUES])
    assert misfit(JsonText(USER), text).code == "too_many_values"


def test_opaque_parts_count_towards_the_limit_of_the_request() -> None:
    parts = [{"type": "image_url", **{f"k{part}-{i}": 1 for i in range(5000)}} for part in range(11)]
    assert misfit(Array(Opaque()), parts).code == "too_many_strings"


def test_an_opaque_part_is_counted_and_everything_in_it_but_its_data_is_judged() -> None:
    data = "data:image/png;base64," + "iVBORw0KGgo/" * 50
    part = {"type": "image_url", "image_url": {"url": data, "detail": "auto"}, "note": "words"}
    into = Collection(strict=True)
    assert Opaque().clean(part, ("p",), into) == part
    assert into.opaque == [("p",)]
    assert [leaf.text for leaf in into.leaves] == ["type", "image_url", "image_url", "url", "detail", "auto", "note", "words"]  # fmt: skip


@pytest.mark.parametrize(
    "kind", ["data:text/plain;base64,", "data:image/svg+xml;base64,", "data:application/pdf;base64,", ""]
)
def test_a_text_file_within_an_opaque_part_is_judged(kind: str) -> None:
    url = kind + base64.b64encode(b"<svg><text>Words to be read.</text></svg>\n" * 20).decode()
    assert url in walk(Opaque(), {"file": {"file_data": url}})[1]


def test_words_joined_by_signs_of_base64_within_an_opaque_part_are_judged() -> None:
    for sign in "/+":
        url = sign.join(["say", "how", "the", "mark", "could", "be", "made", "at", "home"] * 9)
        assert url in walk(Opaque(), {"image_url": {"url": url}})[1]
        assert (
            f"data:image/png;base64,{url}" in walk(Opaque(), {"image_url": {"url": f"data:image/png;base64,{url}"}})[1]
        )


@pytest.mark.parametrize("url", ["https://h/MARK.png", "data:text/plain,MARK", "data:image/png;base64,MARK", "MARK"])
def test_an_address_within_an_opaque_part_is_judged(url: str) -> None:
    assert url in walk(Opaque(), {"image_url": {"url": url}})[1]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"a": "ZQ-M\\u0041RK"}', id="E04-value"),
        pytest.param('{"ZQ-M\\u0041RK": 1}', id="E04-key"),
        pytest.param('["x", {"y": ["\\u005aQ-MARK"]}]', id="E04-nested"),
        pytest.param(json.dumps({"a": json.dumps({"b": "\u2028"})}).replace("\\\\u2028", "\\\\u005aQ-MARK"), id="json-in-json"),
        pytest.param(json.dumps({"a": json.dumps(["ZQ-M\\u0041RK"])}).replace("\\\\\\\\", "\\\\"), id="json-in-json-list"),
        pytest.param(json.dumps({"a": ' {"b": "\\u005aQ-MARK"}'}), id="json-behind-a-space-in-json"),
        pytest.param('{"a": "\\u005aQ-MARK", "a": 1}', id="duplicate-key-hides-it"),
        pytest.param('{"a": "\\u005aQ-MARK", "n": 1e999}', id="infinite-number-beside-it"),
        pytest.param('{"a": "\\u005aQ-MARK", "n": 99999999999999999999}', id="huge-integer-beside-it"),
        pytest.param('{"a": "\\u005aQ-MARK"} trailing', id="text-behind-it"),
        pytest.param('{"a": "\\u005aQ-MARK", "b', id="cut-off"),
        pytest.param('{"a": "\\u005aQ-MARK", "b": NaN}', id="nan-beside-it"),
        pytest.param("say \\u005aQ-MARK", id="no-json-at-all"),
        pytest.param('"\\u005aQ-MARK"', id="bare-string"),
        pytest.param(' \n{"a":"\\u005aQ-MARK"}', id="white-space-before"),
    ],
)  # fmt: skip
def test_a_mark_that_is_escaped_in_arguments_is_found_decoded(text: str) -> None:
    into = Collection(strict=True)
    assert JsonText(Surface.TOOL_CALL).clean(text, ("x",), into) == text
    raw, *decoded = into.leaves
    assert (raw.text, raw.kind, raw.is_json) == (text, LeafKind.TEXT, True)
    assert any("ZQ-MARK" in leaf.text for leaf in decoded)
    assert all(leaf.kind is LeafKind.DERIVED and leaf.path == ("x",) for leaf in decoded)


def test_arguments_without_escapes_need_no_second_reading() -> None:
    assert walk(JsonText(USER), '{"a": {"b": ["c"]}}')[1] == ['{"a": {"b": ["c"]}}']


def test_decoded_strings_count_towards_the_limit() -> None:
    text = json.dumps(["é"] * (MAX_LEAVES + 1))
    with pytest.raises(Misfit, match="strings"):
        JsonText(USER).clean(text, (), Collection(strict=True))


_ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(_ANY_JSON)
def test_every_string_and_key_of_any_json_is_collected(value: Any) -> None:
    for strict in (True, False):
        try:
            out, texts = walk(Anything(USER), value, strict=strict)
        except Misfit:
            continue
        assert set(strings(out)) <= set(texts)
        dump_json(out)


@given(_ANY_JSON)
def test_every_string_of_json_text_is_read_decoded(value: Any) -> None:
    into = Collection(strict=True)
    text = json.dumps(value)
    read_decoded(text, (), USER, into)
    if "\\" in text:
        safe = {s.encode("utf-8", "replace").decode() for s in strings(value)}
        assert safe <= {leaf.text for leaf in into.leaves}


def test_a_collection_shows_no_text() -> None:
    into = Collection(strict=True)
    Text(USER).clean("secret words", (), into)
    assert "secret" not in repr(into)
    assert "secret" not in repr(into.leaves)


@pytest.mark.parametrize(
    ("path", "otherwise", "said"),
    [
        (("messages", 0, "content"), "", "messages[0].content: is odd"),
        (("messages", 0, "content"), "The body", "messages[0].content: is odd"),
        ((), "The body", "The body: is odd"),
        ((), "", "is odd"),
    ],
    ids=["place", "place-and-name", "whole-with-name", "whole"],
)
def test_a_misfit_says_where_and_why(path: Path, otherwise: str, said: str) -> None:
    assert Misfit(path, "is odd").said(otherwise) == said


def encoded(begins: bytes, n: int = 40) -> str:
    return base64.b64encode(begins + bytes(range(n))).decode()


PICTURE = encoded(b"\x89PNG\r\n\x1a\n")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(PICTURE, id="png"),
        pytest.param(encoded(b"\xff\xd8\xff\xe0"), id="jpeg"),
        pytest.param(encoded(b"\xff\xd8\xff\xe0").replace("/", "_").replace("+", "-").rstrip("="), id="other-alphabet"),
        pytest.param(encoded(b"GIF89a"), id="gif"),
        pytest.param(encoded(b"RIFF\x00\x00\x00\x00WEBPVP8 "), id="webp"),
        pytest.param(encoded(b"%PDF-1.7"), id="pdf"),
        pytest.param(encoded(b"ID3\x04"), id="mp3"),
        pytest.param(encoded(b"OggS\x00"), id="ogg"),
        pytest.param("\n".join([PICTURE[:8], PICTURE[8:]]) + "\n", id="lines"),
        pytest.param("data:image/png;base64,AAAA", id="url"),
        pytest.param("DATA:Image/PNG;name=a;base64,AAAA", id="url-with-a-name"),
        pytest.param("data:image/svg+xml,%3Csvg/%3E", id="url-without-base64"),
        pytest.param(f"data:;base64,{PICTURE}", id="url-of-no-type"),
        pytest.param(f"data:text/plain;base64,{PICTURE}", id="url-of-another-type"),
    ],
)
def test_a_file_in_a_field_that_nobody_knows_is_opaque(text: str) -> None:
    assert holds_file(text)
    for value, where in ((text, "x"), ([text], "x[0]"), ({"url": text}, "x.url")):
        into = Collection(strict=True)
        assert Object({}).clean({"x": value}, (), into) == {"x": value}
        assert [show_path(path) for path in into.opaque] == [where]
        assert into.may_act


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("What does data:image/png;base64,AAAA mean?", id="url-within-text"),
        pytest.param("data: in/out, and more", id="words"),
        pytest.param("data:,hello", id="url-of-no-type"),
        pytest.param("data:text/plain;base64,aGVsbG8=", id="url-of-text"),
        pytest.param(base64.b64encode(b"hello there, how is the weather?").decode(), id="text"),
        pytest.param(encoded(b"ABCD", 250), id="other-data"),
        pytest.param(PICTURE[:31], id="short"),
        pytest.param(f"SUQz {PICTURE}", id="blank"),
        pytest.param("A" + "\n" * 60 + "A", id="lines"),
    ],
)
def test_text_in_a_field_that_nobody_knows_is_judged(text: str) -> None:
    assert not holds_file(text)
    into = Collection(strict=True)
    Object({}).clean({"x": text}, (), into)
    assert (into.opaque, [leaf.text for leaf in into.leaves]) == ([], ["x", text])


def test_of_a_file_only_what_nobody_can_read_is_not_judged() -> None:
    data = base64.b64encode(b"\xff\xd8\xff" + random.Random(7).randbytes(600)).decode()
    for text, judged in ((data, []), (f"data:image/png;base64,{data}", []), (f"{PICTURE}", [PICTURE])):
        into = Collection(strict=True)
        UNKNOWN.clean(text, ("x",), into)
        assert ([leaf.text for leaf in into.leaves], len(into.opaque)) == (judged, 1)
    for place in (data, {"url": data}, {"a": data, "b": data}):
        into = Collection(strict=True)
        Opaque().clean(place, ("x",), into)
        assert into.opaque == [("x",)]


def test_known_text_is_judged_whatever_it_looks_like() -> None:
    assert walk(Text(USER), PICTURE) == (PICTURE, [PICTURE])
    assert walk(Anything(USER), [PICTURE]) == ([PICTURE], [PICTURE])
