"""What an engine raises when it could not decide.

::

    EngineError                 base: no verdict, and why (never carries content)
    ├── ModelLoadError          the model file cannot be opened, verified, understood or held in memory
    ├── EngineUnavailable       the guard process or server is not there (starting, dead, refused the connection)
    ├── EngineOverloaded        the queue is full; nothing was started
    ├── EngineTimeout           the deadline passed, or the work was cancelled
    ├── ContentTooLong          more tokens than the guard is allowed to read
    └── VerdictError            the model answered, but not with a verdict
        ├── GuardRefused        it refused
        ├── GuardRanTask        it did what the content asks for
        ├── GuardEmpty          it said nothing
        └── GuardRunaway        it reasoned without end

A score that says "violation" is never an error, and an error is never a score.
"""

from __future__ import annotations


class EngineError(Exception):
    """No verdict. ``code`` is a short stable word for logs, metrics and the audit; the message never holds content."""

    code = "engine_error"


class ModelLoadError(EngineError):
    """The model file is missing, does not match its recorded hash, or is not of the architecture that the engine needs."""

    code = "model_load"


class EngineUnavailable(EngineError):
    """The guard process or server cannot be reached now: it is starting, it died, or it refused the connection."""

    code = "unavailable"


class EngineOverloaded(EngineError):
    """The guard's queue is full. Nothing was started, so a retry is safe."""

    code = "overloaded"


class EngineTimeout(EngineError):
    """The deadline passed before there was a verdict."""

    code = "timeout"


class ContentTooLong(EngineError):
    """The content has more tokens than the guard may read; nothing was cut and nothing was judged."""

    code = "too_long"


class VerdictError(EngineError):
    """The model's answer is not a verdict. The subclasses say what it is; an answer in another form is just this."""

    code = "no_verdict"


class GuardRefused(VerdictError):
    """The model refused instead of judging. Leans to violation: most contents that a safeguard model refuses are one."""

    code = "guard_refused"


class GuardRanTask(VerdictError):
    """The model did what the content asks for. Leans to violation: the content has taken the guard over."""

    code = "guard_ran_task"


class GuardEmpty(VerdictError):
    """The model's answer is empty."""

    code = "guard_empty"


class GuardRunaway(VerdictError):
    """The model's reasoning went round in circles or met its limit, and there is no verdict after it."""

    code = "guard_runaway"


ERRORS_BY_CODE: dict[str, type[EngineError]] = {
    cls.code: cls
    for cls in (
        EngineError,
        ModelLoadError,
        EngineUnavailable,
        EngineOverloaded,
        EngineTimeout,
        ContentTooLong,
        VerdictError,
        GuardRefused,
        GuardRanTask,
        GuardEmpty,
        GuardRunaway,
    )
}
"""Error classes by ``code``: how an error crosses the process boundary."""
