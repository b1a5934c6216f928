"""CSV that a spreadsheet opens without running anything, and that any reader of CSV reads back."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from proxy.audit.export import COLUMNS, cells, safe, write_csv
from tests.proxy.audit.sinks import first, verdict


def exported(*records: dict[str, Any]) -> str:
    out = io.StringIO(newline="")
    write_csv(records, out)
    return out.getvalue()


@pytest.mark.parametrize(
    "name",
    ['=HYPERLINK("http://example.com")', "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\n=x", "  =1", "＝1"],
    ids=repr,
)
def test_no_cell_is_a_formula(name: str) -> None:
    record = dict(
        first(1, route=name, policies=[name], error=name, verdicts=[verdict(name, "flag", error=name)]).fields
    )
    (_, row) = csv.reader(io.StringIO(exported(record), newline=""))
    found = dict(zip(COLUMNS, row, strict=True))
    assert found["route"] == f"'{name}"
    assert not [cell for cell in row if cell.lstrip(" ")[:1] in ("=", "+", "-", "@", "\t", "\r", "\n", "＝")]


@pytest.mark.parametrize("name", ["a,b", 'a "b"', "a\r\nb", "é ∑ 日本", "a;b", ""], ids=repr)
def test_cells_come_back_as_they_went(name: str) -> None:
    text = exported(dict(first(1, route=name).fields))
    (head, row) = csv.reader(io.StringIO(text, newline=""))
    assert tuple(head) == COLUMNS
    assert row[COLUMNS.index("route")] == name
    assert text.endswith("\r\n")


def test_ordinary_cells_stay_as_they_are() -> None:
    assert [safe(c) for c in ("", "shop", "0.5", "a=b", "2026-01-01", "'x")] == [
        "",
        "shop",
        "0.5",
        "a=b",
        "2026-01-01",
        "'x",
    ]


def test_verdicts_of_one_record_stand_in_one_row() -> None:
    record = dict(
        first(
            1,
            verdicts=[
                verdict("hate", "flag", score=0.7, tier="encoder", model="m@1"),
                verdict("spam", "error", error="busy"),
            ],
            shadow=[{**verdict("draft", "refuse", score=0.9), "mode": "shadow"}],
            content={"fingerprint": "f", "texts": 2, "chars": 10},
            unjudged=["policy:spam", "opaque:messages.0.content.1"],
            status=200,
            at_ms=1.5,
        ).fields
    )
    row = cells(record)
    assert row["scores"] == "hate=0.7; draft (shadow)=0.9"
    assert row["policies"] == "hate; spam; draft"
    assert row["errors"] == "spam=busy"
    assert row["models"] == "hate=m@1"
    assert row["unjudged"] == "policy:spam; opaque:messages.0.content.1"
    assert (row["fingerprint"], row["chars"], row["status"], row["at_ms"]) == ("f", "10", "200", "1.5")
    assert row["region"] == row["cause"] == ""
    assert set(row) == set(COLUMNS)
