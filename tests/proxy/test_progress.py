"""Progress where nobody looks at it."""

from __future__ import annotations

import pytest

from proxy import progress


@pytest.mark.parametrize(
    ("done", "total", "n", "seconds", "line"),
    [
        pytest.param(300, 1000, 100, 10.0, "300 of 1000 rows, 10.0 rows/s, 70 s left", id="gone-on-with"),
        pytest.param(300, None, 300, 10.0, "300 rows, 30.0 rows/s", id="no-total"),
        pytest.param(0, 10, 0, 0.0, "0 of 10 rows, 0.0 rows/s", id="nothing-yet"),
    ],
)
def test_a_line_says_how_far_it_is(done: int, total: int | None, n: int, seconds: float, line: str) -> None:
    assert progress.progress_line("rows", done, total, n, seconds) == line


def test_without_a_terminal_there_is_a_line_now_and_then_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr("proxy.progress.time.monotonic", lambda: now)
    with progress.progress("rows", 200, before=100) as shown:
        for _ in range(100):
            now += 1.0
            shown.one_more()
    assert capsys.readouterr().err.splitlines() == [
        "130 of 200 rows, 1.0 rows/s, 70 s left",
        "160 of 200 rows, 1.0 rows/s, 40 s left",
        "190 of 200 rows, 1.0 rows/s, 10 s left",
    ]
