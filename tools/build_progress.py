"""Reads pip's verbose output of a long build from standard input and shows how far it is.

On a terminal a bar is redrawn in place; elsewhere a line is printed every tenth. Anything that looks like an error is
kept and shown at the end, if pip failed.
"""

from __future__ import annotations

import re
import sys
from collections import deque

STEP = re.compile(r"\[\s*(\d+)(?:/(\d+)|%)\]")
"""Ninja's counter, or CMake's percentage with make."""


def main() -> int:
    """Show progress until the input ends.

    Returns:
        0 if pip reported success, 1 otherwise.
    """
    on_terminal = sys.stdout.isatty()
    tail: deque[str] = deque(maxlen=40)
    good = False
    last = -1
    for line in sys.stdin:
        tail.append(line)
        good = good or line.startswith(("Successfully installed", "Requirement already satisfied: llama"))
        step = STEP.search(line)
        if step is None:
            continue
        done, total = int(step[1]), int(step[2] or 100)
        if on_terminal:
            filled = 40 * done // total
            sys.stdout.write(f"\r  compiling llama.cpp [{'#' * filled}{'.' * (40 - filled)}] {done}/{total}")
            sys.stdout.flush()
        elif 10 * done // total > last:
            last = 10 * done // total
            print(f"  compiling llama.cpp: {done} of {total} steps", flush=True)
    if on_terminal:
        print()
    if not good:
        sys.stdout.write("".join(tail))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
