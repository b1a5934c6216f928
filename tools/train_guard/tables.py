"""The measured tables of the shipped guard, as they stand in its model card and, in brief, in the README."""

from __future__ import annotations

from typing import Any

BEGIN, END = "<!-- measured: make evaluate writes this -->", "<!-- end of what was measured -->"


def put_in(text: str, made: str) -> str:
    """A page with the tables between its two marks.

    Raises:
        ValueError: The marks are missing.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


def tables(quality: dict[str, Any], *, brief: bool) -> str:
    """Markdown of the figures of `tools.train_guard.measure`.

    Args:
        quality: What ``quality.json`` holds.
        brief: Only what the README shows.
    """
    ranking = [row for row in quality["ranking"] if not brief or row["output"] != "pair"]
    parts = [_ranking(ranking), _decisions(quality["decisions"])]
    if not brief:
        parts += [_steering(quality["steering"]), _functionality(quality["functionality"])]
    cost = quality["cost"]
    parts.append(
        f"{cost['megabytes']} MB in two files; one pass on one thread takes {cost['words_64']['ms']:.1f} ms at 64 tokens; "
        f"a process that judges takes {cost['words_64']['peak_mib']:.0f} MiB."
    )
    return "\n\n".join(parts)


def _interval(values: list[float | None]) -> str:
    value, low, high = values
    return (
        "–" if value is None else f"{value:.3f}" + ("" if low is None or high is None else f" ({low:.3f}–{high:.3f})")
    )


def _ranking(rows: list[dict[str, Any]]) -> str:
    compares = len(_guards(rows)) > 1
    out = [
        "| set | output | rows (violating) | AUPRC | AUROC | best F1 | caught at 5 % false alarms |"
        + (" version 1: AUPRC | AUROC |" if compares else ""),
        "|---|---|---|---|---|---|---|" + ("---|---|" if compares else ""),
    ]
    for row in rows:
        now = row["embedded"]
        cells = [row["set"], f"`{row['output']}`", f"{row['rows']} ({row['violating']})"]
        cells += [_interval(now[name]) for name in ("auprc", "auroc", "best_f1", "recall_at_5")]
        if compares:
            cells += [_interval([row["before"][name][0], None, None]) for name in ("auprc", "auroc")]
        out.append("| " + " | ".join(cells) + " |")
    return "\n".join(out)


def _decisions(decisions: dict[str, dict[str, dict[str, int]]]) -> str:
    out = ["| set, under `config.example.yaml` | rows | refused | flagged or refused |", "|---|---|---|---|"]
    for name, kinds in decisions.items():
        for kind, actions in sorted(kinds.items()):
            n = sum(actions.values())
            refused, flagged = actions.get("refuse", 0), n - actions.get("forward", 0) - actions.get("rewrite", 0)
            out.append(f"| {name}, {kind} | {n} | {refused / n:.1%} | {flagged / n:.1%} |")
    return "\n".join(out)


def _steering(rows: list[dict[str, Any]]) -> str:
    lead = (
        "Policies that were never seen, put before the same contents. Labels are those of the first policy of a topic:\n"
        "which share of the contents that violate it, and of the others, scores above 0.5 under the policy of the row, and\n"
        "AUROC. Of an inverted policy it should fall below one half; one about something else should find next to nothing."
    )
    cells = [
        [row["contents"], row["policy"], *(f"{row['embedded'][name]:.0%}" for name in ("violating", "other"))]
        + [f"{row[guard]['auroc']:.3f}" for guard in _guards(rows)]
        for row in rows
    ]
    return _compared(lead, ["contents", "policy", "violating", "others", "AUROC"], cells, rows)


def _functionality(rows: list[dict[str, Any]]) -> str:
    lead = "HateCheck by functionality: share judged rightly at the threshold for flagging (`_h`: hateful, `_nh`: not)."
    cells = [
        [row["functionality"], str(row["rows"]), *(f"{row[guard]:.1%}" for guard in _guards(rows))] for row in rows
    ]
    return _compared(lead, ["functionality", "rows", "right"], cells, rows)


def _guards(rows: list[dict[str, Any]]) -> list[str]:
    """What was measured: the guard that ships, and perhaps its first version."""
    return ["embedded", "before"] if all("before" in row for row in rows) else ["embedded"]


def _compared(lead: str, heads: list[str], cells: list[list[str]], rows: list[dict[str, Any]]) -> str:
    """A table whose last column stands twice if there are two guards."""
    heads = [*heads, *(["version 1"] if len(_guards(rows)) > 1 else [])]
    lines = [heads, ["---"] * len(heads), *cells]
    return "\n".join([lead, "", *("| " + " | ".join(line) + " |" for line in lines)])
