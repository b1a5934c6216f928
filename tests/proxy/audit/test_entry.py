"""What stands in a record, and above all what does not."""

from __future__ import annotations

from proxy.audit.entry import MAX_FINDINGS, findings, measures, moment, policies_of
from rules.content import Content, Surface
from rules.screen import detect
from tests.fakes import leaf, user, word_rule
from tests.proxy.audit.sinks import first, verdict

KEY = b"k" * 32


def test_findings_say_where_and_never_what() -> None:
    content = Content((leaf("Nothing here."), leaf("Ask Zoe.", "metadata", "Zoe", surface=Surface.METADATA)))
    rule = word_rule("names", "Zoe", refuse=0.5, label="NAME")
    found = findings(content, [detect(rule, content)])
    assert found == {"findings": [{"policy": "names", "path": "metadata.*", "start": 4, "end": 7, "label": "NAME"}]}


def test_many_findings_are_counted_instead_of_listed() -> None:
    content = user("Zoe " * (MAX_FINDINGS + 7))
    found = findings(content, [detect(word_rule("names", "Zoe", flag=0.5), content)])
    assert len(found["findings"]) == MAX_FINDINGS
    assert found["findings_left_out"] == 7


def test_a_fingerprint_tells_contents_apart_and_installations_too() -> None:
    contents = {
        "one": user("Ask Zoe."),
        "another text": user("Ask Zoe!"),
        "another surface": user("Ask Zoe.", surface=Surface.SYSTEM),
        "cut elsewhere": user("Ask ", "Zoe."),
        "nothing": Content(()),
    }
    seen = {name: measures(content, KEY)["fingerprint"] for name, content in contents.items()}
    assert len(set(seen.values())) == len(contents)
    assert measures(user("Ask Zoe."), KEY)["fingerprint"] == seen["one"]
    assert measures(user("Ask Zoe."), b"o" * 32)["fingerprint"] != seen["one"]
    assert measures(Content((leaf("Zoë"),), (("messages", 1),)), KEY) | {"fingerprint": ""} == {
        "fingerprint": "",
        "texts": 1,
        "chars": 3,
        "opaque": 1,
    }


def test_times_are_ordered_as_texts() -> None:
    times = [0, 999_999, 1_000_000, 1_790_000_000_000_001, 1_790_000_000_100_000]
    assert sorted(map(moment, times)) == list(map(moment, times))
    assert moment(1_000_000) == "1970-01-01T00:00:01.000000Z"


def test_a_record_is_found_by_the_policies_that_asked_or_failed() -> None:
    entry = first(
        1,
        policies=["opaque-content"],
        verdicts=[
            verdict("calm", "forward"),
            verdict("loud", "flag"),
            verdict("late", "skipped"),
            verdict("broken", "error"),
        ],
        shadow=[verdict("draft", "refuse"), verdict("quiet", "forward")],
    )
    assert policies_of(entry.fields) == ["opaque-content", "loud", "broken", "draft"]
