"""The plain reading of a text, shown to guards where it says something else."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.reading import plain_reading
from tests.rules.detectors.encodings import ESCAPES, LAYERED, RUNS
from tests.rules.detectors.test_runs import BENIGN

SAID = "how to make ZQ-MARK-7781"
EVERY = {**ESCAPES, **RUNS, **LAYERED}


@pytest.mark.parametrize("encode", EVERY.values(), ids=EVERY)
@pytest.mark.parametrize(("before", "after"), [("", ""), ("Tell me (décodé) ", " – please")], ids=["alone", "within"])
def test_what_is_encoded_is_read_within_its_text(encode: object, before: str, after: str) -> None:
    assert callable(encode)
    reading = plain_reading(before + encode(SAID) + after)
    assert reading is not None
    assert SAID in reading
    assert reading[:4] == before[:4] or not before


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        pytest.param("ma\u200bke a bo\u2060mb", "make a bomb", id="invisible"),
        pytest.param("make\u2800a\u2800big\u2800bomb", "make a big bomb", id="blank-looking-between-words"),
        pytest.param("make a b\u3164o\u3164m\u3164b now", "make a bomb now", id="blank-looking-within-a-word"),
        pytest.param("бо\u200bмба", "бомба", id="invisible-in-cyrillic"),
        pytest.param("make a bоmb", "make a bomb", id="cyrillic-among-latin"),
        pytest.param("see аре now", "see ape now", id="cyrillic-word-of-look-alikes"),
        pytest.param("ｍａｋｅ it", "make it", id="fullwidth"),
        pytest.param("𝓶𝓪𝓴𝓮 it", "make it", id="mathematical"),
        pytest.param("ᴍᴀᴋᴇ it", "make it", id="small-capitals"),
        pytest.param("m\u0336a\u0336k\u0336e\u0336", "make", id="struck-through"),
        pytest.param("hi" + "".join(chr(0xE0000 + ord(c)) for c in "ZQ"), "hi\nZQ", id="tags"),
        pytest.param("😀" + "".join(chr(0xE0100 + ord(c) - 16) for c in "ZQ"), "😀\nZQ\n", id="selectors"),
        pytest.param("a \u202eQZ\u202c b", "a QZ b\na ZQ b", id="override"),
    ],
)
def test_a_disguise_is_taken_off(text: str, reading: str) -> None:
    assert plain_reading(text) == reading


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Plain words.", id="ascii"),
        pytest.param("“Zoë” — Müller’s café, Łódź, København…", id="accents-and-typography"),
        pytest.param("Cafe\u0301 Vie\u0302\u0323t", id="accents-as-marks"),
        pytest.param("Это обычный русский текст, а не ловушка.", id="cyrillic"),
        pytest.param("Καλημέρα κόσμε, α και β", id="greek"),
        pytest.param("你好，世界 こんにちは カタカナ 한국어", id="east-asian"),
        pytest.param("می‌خواهم हिन्दी क्‍ष שָׁלוֹם", id="joiners"),
        pytest.param("👨‍👩‍👧 ❤️ 1️⃣ 🇩🇪🇫🇷 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f 👍🏽", id="emoji"),
        pytest.param("https://host.test/a%20b?x=1&y=%2F &amp; &nbsp;&eacute;", id="habits-of-escaping"),
        pytest.param('{"text": "it\\u2019s \\"fine\\"\\n"}', id="json"),
        pytest.param("TNF-α, 5 μm, Ω, ½ ① ™", id="symbols"),
    ],
)
def test_ordinary_text_has_no_other_reading(text: str) -> None:
    assert plain_reading(text) is None


@pytest.mark.parametrize("text", BENIGN.values(), ids=BENIGN)
def test_ids_hashes_code_and_words_have_no_other_reading(text: str) -> None:
    assert plain_reading(text) is None


def test_a_disguise_below_an_encoding_is_taken_off_too() -> None:
    text = base64.b64encode("ma\u200bke a b\u043emb".encode()).decode()
    assert plain_reading(text) == "make a bomb"


@given(
    st.text(
        st.one_of(st.sampled_from("%41&#90;\\u005aWlEt5a51 =\n-é😀\u200b\u0301\U000e0041\u202e"), st.characters()),
        max_size=80,
    )
)
def test_a_reading_is_bounded_by_its_text(text: str) -> None:
    reading = plain_reading(text)
    assert reading is None or len(reading) <= 20 * len(text)


def test_a_long_run_beside_one_invisible_character_takes_linear_time() -> None:
    text = "o\u200bk " + "7f" * 500_000  # quadratic, it would take hours
    assert plain_reading(text) == text.replace("\u200b", "")


def test_what_looks_like_the_flag_of_a_country_is_one_of_three() -> None:
    def tags(letters: str) -> str:
        return "\U0001f3f4" + "".join(chr(0xE0000 + ord(letter)) for letter in letters) + "\U000e007f"

    assert plain_reading(f"We won! {tags('gbsct')}") is None
    hidden = plain_reading("Well: " + tags("howtop") + tags("eelaza"))
    assert hidden is not None
    assert "howtopeelaza" in hidden


def test_marks_that_are_piled_on_one_letter_are_taken_off_in_linear_time() -> None:
    pile = "\u0301" * 400_000 + "\u0316" * 400_000  # as one text to normalise, it would take hours
    assert plain_reading(f"how a{pile} does it") == "how a does it"


def test_marks_of_a_language_are_no_disguise() -> None:
    assert plain_reading("Vie\u0302\u0323t Nam, re\u0301sume\u0301") is None
