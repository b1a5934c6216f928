"""JUnit XML, as Jenkins, GitLab and GitHub's actions read it.

Source: the schema of Jenkins' xUnit plugin (``junit-10.xsd``), which is the strictest: no attributes of a test case but
``name``, ``classname`` and ``time``. GitLab shows ``classname`` as the suite, the text of ``failure`` and not its ``message``,
and of several cases with the same names only the first; so names are unique, and what is to be read is in the text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from xml.etree import ElementTree as ET

_NOT_XML = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot say, not even escaped (section 2.2)."""


class Outcome(StrEnum):
    """Of one test; the words are JUnit's elements."""

    PASSED = "passed"
    FAILURE = "failure"
    ERROR = "error"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Case:
    """One test."""

    name: str
    outcome: Outcome
    seconds: float = 0.0
    message: str = ""
    output: str = ""


@dataclass(frozen=True, slots=True)
class Suite:
    """Tests that belong together.

    Attributes:
        name: Also the class of its tests.
        file: What they were read from.
        cases: In order.
        notes: What is to be said besides.
    """

    name: str
    file: str
    cases: Sequence[Case]
    notes: Sequence[str] = ()


def junit_xml(name: str, suites: Sequence[Suite]) -> bytes:
    """The whole file."""
    root = ET.Element("testsuites", _clean({"name": name, **_counts([c for suite in suites for c in suite.cases])}))
    for suite in suites:
        skipped = sum(case.outcome is Outcome.SKIPPED for case in suite.cases)
        said = {"name": suite.name, **_counts(suite.cases), "skipped": str(skipped), "file": suite.file}
        element = ET.SubElement(root, "testsuite", _clean(said))
        names: Counter[str] = Counter()
        for case in suite.cases:
            names[case.name] += 1
            unique = case.name if names[case.name] == 1 else f"{case.name} ({names[case.name]})"
            _case(element, suite.name, unique, case)
        if suite.notes:
            ET.SubElement(element, "system-err").text = _xml("\n".join(suite.notes))
    ET.indent(root)
    data: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return data + b"\n"


def _case(suite: ET.Element, classname: str, name: str, case: Case) -> None:
    element = ET.SubElement(
        suite, "testcase", _clean({"classname": classname, "name": name, "time": f"{case.seconds:.3f}"})
    )
    if case.outcome is not Outcome.PASSED:
        said = {} if case.outcome is Outcome.SKIPPED else {"type": case.outcome.value}
        problem = ET.SubElement(element, case.outcome.value, _clean({"message": case.message, **said}))
        problem.text = _xml(case.message)
    if case.output:
        ET.SubElement(element, "system-out").text = _xml(case.output)


def _counts(cases: Sequence[Case]) -> dict[str, str]:
    return {
        "tests": str(len(cases)),
        "failures": str(sum(case.outcome is Outcome.FAILURE for case in cases)),
        "errors": str(sum(case.outcome is Outcome.ERROR for case in cases)),
        "time": f"{sum(case.seconds for case in cases):.3f}",
    }


def _clean(attributes: dict[str, str]) -> dict[str, str]:
    return {name: _xml(value) for name, value in attributes.items()}


def _xml(text: str) -> str:
    r"""A text that XML can carry.

    >>> _xml("a\x1bb")
    'a\\x1bb'
    """
    return _NOT_XML.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
