"""Overlapping windows over a list: how a text that is longer than a model reads is judged without cutting it short."""

from __future__ import annotations


def windows(n_items: int, size: int, stride: int) -> list[tuple[int, int]]:
    """Cover a list with windows so that every item, and every run of ``size - stride`` items, lies whole in one.

    The last one is moved back to be full, so that none is a scrap without surroundings.

    Args:
        n_items: Length of the list; 0 gives one empty window.
        size: Items per window, at least 1.
        stride: Distance between the starts of two windows, 1 to ``size``.

    Returns:
        Half-open ranges, in order.

    >>> windows(10, 4, 3)
    [(0, 4), (3, 7), (6, 10)]
    >>> windows(9, 4, 3)
    [(0, 4), (3, 7), (5, 9)]
    """
    if not 1 <= stride <= size:
        raise ValueError(f"stride {stride} is not between 1 and the window's size {size}")
    if n_items <= size:
        return [(0, n_items)]
    starts = [*range(0, n_items - size, stride), n_items - size]
    return [(start, start + size) for start in starts]
