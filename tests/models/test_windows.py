from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.windows import windows


@given(st.integers(0, 500), st.integers(1, 60), st.data())
def test_every_run_of_the_overlap_lies_whole_in_a_window(n_items: int, size: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, size))
    found = windows(n_items, size, stride)
    overlap = size - stride
    for start in range(max(1, n_items - overlap)):
        end = min(n_items, start + max(1, overlap))
        assert any(first <= start and end <= last for first, last in found)


def test_nothing_is_one_empty_window() -> None:
    assert windows(0, 8, 6) == [(0, 0)]


@pytest.mark.parametrize(
    ("n_items", "expected"),
    [
        pytest.param(4, [(0, 4)], id="fits"),
        pytest.param(5, [(0, 4), (1, 5)], id="last-is-full"),
        pytest.param(10, [(0, 4), (3, 7), (6, 10)], id="even"),
    ],
)
def test_the_last_window_ends_at_the_end(n_items: int, expected: list[tuple[int, int]]) -> None:
    assert windows(n_items, 4, 3) == expected


@pytest.mark.parametrize("stride", [0, 5, -1])
def test_a_stride_that_would_skip_or_stand_still_is_refused(stride: int) -> None:
    with pytest.raises(ValueError, match="stride"):
        windows(10, 4, stride)
