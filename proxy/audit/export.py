"""Records for people and for spreadsheets.

CSV is that of RFC 4180: CRLF, cells with commas, quotes or line breaks in quotes. A spreadsheet takes a cell that begins
with ``=``, ``+``, ``-`` or ``@`` for a formula, so such a cell gets an apostrophe before it (OWASP, "CSV Injection"). Names
in records come from the configuration and error codes from here; a name may be as odd as its author wants.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from typing import Protocol

from proxy.audit.entry import policies_of
from proxy.audit.store import Record

COLUMNS = (
    *("time", "decision_id", "request_id", "route", "region", "stage", "endpoint", "state", "action", "cause"),
    *(
        "policies",
        "scores",
        "revisions",
        "models",
        "tiers",
        "errors",
        "unjudged",
        "status",
        "error",
        "screen_ms",
        "at_ms",
    ),
    *("texts", "chars", "fingerprint", "configuration", "policy_set", "seq"),
)

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class _File(Protocol):
    def write(self, text: str, /) -> object: ...


def write_csv(records: Iterable[Record], file: _File) -> None:
    """Write records as CSV; ``file`` must not translate line ends."""
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for record in records:
        row = cells(record)
        writer.writerow([safe(row[name]) for name in COLUMNS])


def safe(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula.

    >>> safe("=1+1")
    "'=1+1"
    """
    return f"'{cell}" if cell.lstrip(" ").startswith(_FORMULA) else cell


def cells(record: Record) -> dict[str, str]:
    """A record as cells, by `COLUMNS`; what several verdicts say stands in one cell, as ``policy=value; …``."""
    content = record.get("content", {})
    verdicts = [*record.get("verdicts", ()), *record.get("shadow", ())]

    def each(key: str) -> str:
        said = ((_name(v), v.get(key)) for v in verdicts)
        return "; ".join(f"{name}={value}" for name, value in said if value is not None)

    row = {name: _text(record.get(name)) for name in COLUMNS}
    row |= {name: _text(content.get(name)) for name in ("texts", "chars", "fingerprint")}
    row |= {"scores": each("score"), "revisions": each("revision"), "models": each("model"), "tiers": each("tier")}
    return {**row, "errors": each("error"), "policies": "; ".join(policies_of(record))}


def _name(verdict: Record) -> str:
    mode = verdict.get("mode", "enforce")
    return f"{verdict['policy']}" if mode == "enforce" else f"{verdict['policy']} ({mode})"


def _text(value: object) -> str:
    if value is None:
        return ""
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)
