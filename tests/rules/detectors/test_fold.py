from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.detectors.fold import fold, folded_views, squeeze

INVISIBLE = "\u200b\u200d\u2060\u00ad\u034f\u180e\ufeff\u115f\u1160\u3164\uffa0\u2800\ufe0f\U000e0100\u202e\u2066\u17b4"

AWKWARD = st.text(
    st.one_of(
        st.sampled_from(
            "aAzZ09 .-İıßſéñǆﬁﷺ😀👨👩\u200d\u0301\u0327\u3099かカﾊﾞﾟ한글각\u1112\u1161\u11abㅎㅏ𝐀𝟘①½🅰🇩АВеоΑο漢"
        ),
        st.sampled_from(INVISIBLE),
        st.sampled_from([chr(0xE0041), chr(0xE007F), chr(0xE01EF), "\ufe00", "\u202c", "\n"]),
        st.characters(),
    ),
    max_size=60,
)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        pytest.param("Zoë Müller", "Zoe Muller", id="composed marks"),
        pytest.param("Z\u0301Q\u0327", "ZQ", id="loose marks"),
        pytest.param("".join(f"Z{c}" for c in INVISIBLE), "Z" * len(INVISIBLE), id="invisible"),
        pytest.param("ＺＱ－７７", "ZQ-77", id="fullwidth"),
        pytest.param("МАRК", "MARK", id="cyrillic"),
        pytest.param("ΜΑΡΚ", "MAPK", id="greek"),
        pytest.param("𝐙𝓠𝔐𝕬", "ZQMA", id="mathematical"),
        pytest.param("🅼🅰🆁🅺", "MARK", id="squared"),
        pytest.param("ﬁne ㎏", "fine kg", id="compatibility"),
        pytest.param("İıſ", "Iis", id="dotted and dotless"),
        pytest.param("٤٢ ४२", "42 42", id="digits of other scripts"),
        pytest.param("a‑b – c’d", "a-b - c'd", id="punctuation"),
        pytest.param("がﾊﾞカ\u3099", "がバガ", id="kana keep their voicing"),
        pytest.param("한글 \u1112\u1161\u11ab", "한글 한", id="hangul is composed"),
        pytest.param("plain ASCII\x00\t", "plain ASCII\x00\t", id="ascii"),
        pytest.param("漢字", "漢字", id="han"),
    ],
)
def test_folding(text: str, folded: str) -> None:
    assert fold(text) == folded


@given(AWKWARD)
def test_every_place_of_a_view_leads_to_a_valid_raw_range(text: str) -> None:
    for view in folded_views(text):
        assert len(view.index) == len(view.text)
        for start in range(len(view.text)):
            for end in (start + 1, len(view.text)):
                first, last = view.to_raw(start, end)
                assert 0 <= first < last <= len(text)
                places = view.index[start:end]
                assert first == min(places)
                assert last > max(places)


@given(AWKWARD)
def test_a_range_grows_beyond_its_last_character_only_over_marks(text: str) -> None:
    for view in folded_views(text):
        if view.text:
            last = max(view.index)
            grown = text[last + 1 : view.to_raw(0, len(view.text))[1]]
            assert all(unicodedata.category(c)[0] == "M" or c in "\uff9e\uff9f" for c in grown)


@given(AWKWARD)
def test_the_folded_view_is_the_folded_text_whichever_way_it_was_folded(text: str) -> None:
    folded = fold(text)
    readings = folded_views(text)
    assert readings[0].text == text
    if folded != text:
        assert readings[1].text == folded
    assert fold(text + "x" * 500) == folded + "x" * 500  # all ways of folding agree


@given(AWKWARD)
def test_the_squeezed_view_points_at_its_letters(text: str) -> None:
    for view in folded_views(text):
        squeezed = squeeze(view)
        assert "".join(view.text[i] for i in squeezed.index) == squeezed.text
        assert squeezed.text == "".join(c for c in view.text if c.isalnum())


def test_text_in_tag_characters_and_variation_selectors_is_read() -> None:
    tags = "".join(chr(0xE0000 + ord(c)) for c in "MARK")
    selectors = "".join(chr(0xE0100 + b - 16) for b in "мяу".encode())
    assert "MARK" in [v.text for v in folded_views(f"hi{tags}")]
    assert "мяу\n" in [v.text for v in folded_views(f"😀{selectors}")]
    raw_bytes = "".join(chr(0xE0100 + b - 16) for b in b"\xff\xfe\xfd")
    assert "ÿþý\n" in [v.text for v in folded_views(f"😀{raw_bytes}")]


def test_a_run_under_a_right_to_left_override_is_also_read_backwards() -> None:
    assert "see MARK now" in [v.text for v in folded_views("see \u202eKRAM\u202c now")]


def test_unpaired_surrogates_do_no_harm() -> None:
    assert fold("a\ud800é") == "a\ud800e"
