"""A guard process with a scripted judge: what a content says is what happens. Run by file, like `models.worker`.

The words of a content are commands: ``sleep 3`` (in short steps, asking `Stop`), ``stubborn 3`` (not asking it),
``die`` (SIGKILL), ``abort``, ``raise``, ``score 0.9``, ``score-if FILE 0.9``, ``env``, ``connect PORT``, ``print TEXT``, ``garbage``,
``few``, ``touch FILE``, ``forget-usage``, ``garble-usage``, ``reasoned``, ``die-unless FILE``. A model file's second line scripts the loading.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from models.engine import GuardPolicy, Passage, Score, Tier
from models.errors import EngineError, EngineTimeout, ModelLoadError, VerdictError
from models.judge import InTurns, SteppedJudge, Stop, Work, never_due
from models.specs import LocalSpec
from models.usage import Usage
from models.worker import run


class ScriptedJudge:
    model = "fake@1"

    def __init__(self) -> None:
        self.usage = Usage()
        self._reset()

    def _reset(self) -> None:
        self._value = 0.25
        self._rationale: str | None = None

    def work(self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], stop: Stop) -> Work:
        yield from ()
        self._reset()
        self.usage.n_calls += 1
        self.usage.n_tokens += 3
        self.usage.seconds += 0.5
        for line in passages[-1].text.splitlines():
            command, _, argument = line.partition(" ")
            entry = self._do(command, argument, stop)
            if entry is not None:
                return entry if isinstance(entry, list) else [entry] * len(policies)
        own = self._rationale
        return [Score(self._value, Tier.DIRECT, rationale=policy.text if own is None else own) for policy in policies]

    def close(self) -> None:
        pass

    def _do(self, command: str, argument: str, stop: Stop) -> EngineError | list[Score | EngineError] | None:
        match command:
            case "sleep":
                end = time.monotonic() + float(argument)
                while time.monotonic() < end:
                    if stop():
                        return EngineTimeout("cancelled" if stop.cancelled() else "deadline")
                    time.sleep(0.005)
            case "stubborn":
                time.sleep(float(argument))
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "die-unless":
                if not Path(argument).exists():
                    os.kill(os.getpid(), signal.SIGKILL)
            case "abort":
                os.write(2, b"GGML_ASSERT(n_tokens <= n_batch) failed\n")
                os.abort()
            case "raise":
                raise ValueError("a secret text")
            case "verdict-error":
                return VerdictError("no label")
            case "score":
                self._value = float(argument)
            case "score-if":
                file, value = argument.split()
                if Path(file).exists():
                    self._value = float(value)
            case "env":
                self._rationale = json.dumps(dict(os.environ))
            case "connect":
                try:
                    socket.create_connection(("127.0.0.1", int(argument)))
                except PermissionError as error:
                    self._rationale = str(error)
            case "surrogate":
                self._rationale = "\ud800"
            case "forget-usage":
                self.usage.n_calls = self.usage.n_tokens = 0
            case "garble-usage":
                self.usage.n_calls = -5
            case "reasoned":
                return [Score(0.5, Tier.REASONED)] * 2
            case "few":
                return []
            case "touch":
                Path(argument).touch()
            case _:
                pass
        return None


class ScriptedCrowd:
    """Judges many contents at once: each takes as long as its ``sleep`` says; ``crash`` and ``raise`` do so
    after that moment."""

    model = "fake@1"

    def __init__(self) -> None:
        self.usage = Usage()
        self._calls: dict[int, tuple[float, str, int, Stop, str]] = {}

    @property
    def busy(self) -> bool:
        return bool(self._calls)

    def submit(
        self, job_id: int, passages: Sequence[Passage], policies: Sequence[GuardPolicy], stop: Stop, key: str = ""
    ) -> None:
        text = passages[-1].text
        _, _, seconds = text.partition("sleep ")
        self._calls[job_id] = (time.monotonic() + float(seconds or 0), text, len(policies), stop, key)

    def step(self, due: Callable[[], float] = never_due) -> list[tuple[int, list[Score | EngineError]]]:
        time.sleep(0.005)
        answers: list[tuple[int, list[Score | EngineError]]] = []
        for job_id, (end, text, n_policies, stop, key) in list(self._calls.items()):
            if stop() or time.monotonic() >= end:
                if text.startswith("crash"):
                    os.kill(os.getpid(), signal.SIGKILL)
                if text.startswith("raise"):
                    raise ValueError("a secret text")
                late = EngineTimeout("cancelled" if stop.cancelled() else "deadline")
                entry = late if stop() else Score(len(self._calls) / 100, Tier.DIRECT, rationale=key)
                answers.append((job_id, [entry] * n_policies))
        for job_id, _ in answers:
            del self._calls[job_id]
        return answers

    def close(self) -> None:
        pass


def load(spec: LocalSpec, path: Path) -> SteppedJudge:
    _, _, script = path.read_text().partition("\n")
    match script.split():
        case ["bad"]:
            raise ModelLoadError("not a model of this engine")
        case ["crash"]:
            os.write(2, b"out of memory while loading\n")
            os._exit(9)
        case ["crash-unless", file]:
            if not Path(file).exists():
                os._exit(9)
        case ["bug"]:
            raise RuntimeError("no llama_cpp here")
        case ["slow", seconds]:
            time.sleep(float(seconds))
        case ["crowd"]:
            return ScriptedCrowd()
        case _:
            pass
    return InTurns(ScriptedJudge())


if __name__ == "__main__":
    sys.exit(run(int(sys.argv[1]), load))
