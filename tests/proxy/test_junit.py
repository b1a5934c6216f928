"""JUnit XML that every reader reads."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from proxy import junit
from proxy.junit import Outcome, junit_xml

ATTRIBUTES = {
    "testsuites": {"name", "time", "tests", "failures", "errors"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "time", "file"},
    "testcase": {"name", "classname", "time"},
    "failure": {"message", "type"},
    "error": {"message", "type"},
    "skipped": {"message"},
    "system-out": set(),
    "system-err": set(),
}
"""What stands in Jenkins' junit-10.xsd, of which no more may be there."""

CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"testcase", "system-err"},
    "testcase": {"failure", "error", "skipped", "system-out"},
}

SUITES = [
    junit.Suite(
        "policy.hate",
        "hate.examples.yaml",
        [
            junit.Case("one", Outcome.PASSED, 0.0123),
            junit.Case("two", Outcome.FAILURE, 1.5, "expected <this> & 'that'\nnot \"those\""),
            junit.Case("two", Outcome.ERROR, message="no verdict"),
            junit.Case("three", Outcome.SKIPPED, message="nobody asks", output="content"),
        ],
        ["warning: a.md:3: x", "warning: a.md:4: y"],
    ),
    junit.Suite("policy.empty", "e.yaml", []),
]


def parsed() -> ET.Element:
    return ET.fromstring(junit_xml("safeguard test", SUITES))


def test_nothing_stands_in_it_that_the_schema_of_jenkins_does_not_know() -> None:
    for element in parsed().iter():
        assert set(element.attrib) <= ATTRIBUTES[element.tag], element.tag
        assert {child.tag for child in element} <= CHILDREN.get(element.tag, set()), element.tag
        if "time" in element.attrib:
            assert re.fullmatch(r"\d+\.\d{3}", element.attrib["time"])


def test_the_counts_are_those_of_the_cases() -> None:
    root = parsed()
    assert root.attrib == {"name": "safeguard test", "tests": "4", "failures": "1", "errors": "1", "time": "1.512"}
    assert [(s.attrib["name"], s.attrib["tests"], s.attrib["skipped"]) for s in root] == [
        ("policy.hate", "4", "1"),
        ("policy.empty", "0", "0"),
    ]


def test_names_are_unique_within_a_class() -> None:
    names = [(case.attrib["classname"], case.attrib["name"]) for case in parsed().iter("testcase")]
    assert names == [("policy.hate", name) for name in ("one", "two", "two (2)", "three")]


def test_what_is_wrong_stands_in_the_text_and_in_the_message() -> None:
    (failure,) = parsed().iter("failure")
    assert failure.text == failure.attrib["message"] == "expected <this> & 'that'\nnot \"those\""
    assert [out.text for out in parsed().iter("system-out")] == ["content"]
    assert [err.text for err in parsed().iter("system-err")] == ["warning: a.md:3: x\nwarning: a.md:4: y"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("a\x1b[31m", "a\\x1b[31m", id="escape"),
        pytest.param("\x00", "\\x00", id="nul"),
        pytest.param("\ud800", "\\ud800", id="surrogate"),
        pytest.param("\ufffe\uffff", "\\ufffe\\uffff", id="no-characters"),
        pytest.param("]]>", "]]>", id="end-of-cdata"),
        pytest.param("tab\tand 😀", "tab\tand 😀", id="fine"),
    ],
)
def test_what_xml_cannot_say_is_spelled(text: str, shown: str) -> None:
    case = junit.Case(text, Outcome.FAILURE, message=text, output=text)
    root = ET.fromstring(junit_xml(text, [junit.Suite(text, text, [case], [text])]))
    for tag in ("failure", "system-out", "system-err"):
        assert [element.text for element in root.iter(tag)] == [shown]
    assert [case.attrib["name"] for case in root.iter("testcase")] == [shown]
