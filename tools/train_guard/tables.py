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
        parts += [
            make(quality[name])
            for name, make in (("steering", _steering), ("functionality", _functionality))
            if name in quality
        ]
    if (cost := quality.get("cost")) is None:
        return "\n\n".join(parts)
    parts.append(
        f"{cost['megabytes']} MB; one pass on one thread takes {cost['words_64']['ms']:.1f} ms at 64 tokens; a process "
        f"that judges takes {cost['words_64']['peak_mib']:.0f} MiB."
    )
    return "\n\n".join(parts)


def _interval(values: list[float | None]) -> str:
    value, low, high = values
    return (
        "–" if value is None else f"{value:.3f}" + ("" if low is None or high is None else f" ({low:.3f}–{high:.3f})")
    )


def _ranking(rows: list[dict[str, Any]]) -> str:
    compares = all("before" in row for row in rows)
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
    out = [
        "A policy that was never seen, put before the same contents (AUROC against the labels of the first policy of a topic;",
        "an inverted policy should fall below one half):",
        "",
        "| contents | policy | AUROC |",
        "|---|---|---|",
    ]
    return "\n".join([*out, *(f"| {row['contents']} | {row['policy']} | {row['auroc']:.3f} |" for row in rows)])


def _functionality(rows: list[dict[str, Any]]) -> str:
    compares = all("before" in row for row in rows)
    out = [
        "HateCheck by functionality: share judged rightly at the threshold for flagging (`_h`: hateful, `_nh`: not):",
        "",
        "| functionality | rows | right |" + (" version 1 |" if compares else ""),
        "|---|---|---|" + ("---|" if compares else ""),
    ]
    for row in rows:
        earlier = f" {row['before']:.1%} |" if compares else ""
        out.append(f"| {row['functionality']} | {row['rows']} | {row['embedded']:.1%} |{earlier}")
    return "\n".join(out)
