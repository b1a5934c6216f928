"""``safeguard tune``: sees that everything needed is there, has it done, and says what came out."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Never

from models.errors import EngineError
from proxy.config_error import ConfigError

if TYPE_CHECKING:
    from proxy.tuning.outcome import Tuned

_NEEDED = {"torch": "torch", "gguf": "gguf", "sklearn": "scikit-learn"}


def tune(path: Path, args: argparse.Namespace) -> int:
    """Run the command.

    Args:
        path: The configuration.
        args: Its options.

    Returns:
        0 where the tuned guard is better on every policy, 1 where it is not; the files are written either way.

    Raises:
        ConfigError: Options, rows or configuration are wrong, or something cannot be loaded or written.
    """
    check_installed()
    from models.calibration import CalibrationError
    from proxy.evaluation.fitting import FitError
    from proxy.evaluation.judging import JudgingError
    from proxy.evaluation.results import ResultsError
    from proxy.evaluation.rows import RowError
    from proxy.logs import configure_logs
    from proxy.tuning.work import run

    configure_logs(level="error")
    try:
        with _cleaning_up():
            tuned = run(path, args)
    except (RowError, ResultsError, JudgingError, FitError, CalibrationError, EngineError) as e:
        raise ConfigError(str(e)) from None
    _say(tuned, args.output, as_json=args.json)
    return 0 if tuned.is_better else 1


@contextmanager
def _cleaning_up() -> Iterator[None]:
    """SIGTERM unwinds like Ctrl+C while this lasts: unfinished weights go, and guards are stopped."""

    def end(number: int, _: FrameType | None) -> Never:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def check_installed() -> None:
    """See that the libraries are there.

    Raises:
        ConfigError: They are not; it says how to get them.
    """
    missing = [name for module, name in _NEEDED.items() if find_spec(module) is None]
    if missing:
        raise ConfigError(
            f"safeguard tune needs {', '.join(missing)}: pip install 'safeguard[tune]' "
            "(in a checkout: pip install -c constraints.txt '.[tune]')"
        )


def _say(tuned: Tuned, folder: Path, *, as_json: bool) -> None:
    from rich.text import Text

    from proxy.evaluation import report
    from proxy.printing import console, print_json
    from proxy.tuning.card import configuration, warnings

    if as_json:
        print_json({**tuned.record(), "folder": str(folder)})
    else:
        out = console()
        for name, comparison in tuned.comparisons.items():
            out.print(report.table(f"{name}, held-out rows", comparison.measured))
            for note in report.notes(comparison.measured):
                out.print(Text(note))
        out.print(Text(f"In {folder}, to be configured like this:\n\n{configuration(tuned)}"))
    for warning in warnings(tuned):
        sys.stderr.write(f"warning: {warning}\n")
