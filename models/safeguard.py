"""Engine ``llama``: gpt-oss-safeguard models, which read a policy and judge a content by it.

Two tiers. *Direct* forces the final channel open and reads the two verdict logits: one pass, no answer is generated, so the
content cannot talk the model into another one. *Reasoned* (effort ``low``, ``medium``, ``high``) lets the model think in its
analysis channel up to a budget of tokens and of time, then forces the final channel in the same way: there is always a
verdict, also when the trace had to be cut. With an effort, the direct verdict comes first and is the last word unless it lies
in the policy's band of uncertainty (``reason_band``); a band of ``[0, 1]`` reasons always.

The score is the probability of ``1`` among the two labels; it is not calibrated. After a trace that probability is
nearly always close to 0 or 1, and the length of the trace says more (AUROC 0.98 against 0.80 on public traces):
`Score.evidence` carries it, for calibration to use. Where hardly any probability lies on the labels, the model was about to
say something else: it may say the beginning of that, and `models.trace` tells what it is: a refusal, the content's task, …

A content that is longer than what fits beside the policy is judged in overlapping windows (`models.transcript`); the highest
score counts.

Calls are judged together: each becomes readings, one for every window and policy, which `models.scheduler` puts into batches
and `models.layouts` computes. The content is tokenised once for all policies, and what was read of a conversation or a stream
before is not read again (`models.lane`).
"""

from __future__ import annotations

import itertools
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

from models.arrivals import Arrival
from models.attention import DEFAULT_ATTENTION, Attention
from models.catalog import check_architecture
from models.commands import Batch, Open, Reading, Row, Says, Verdict, Want
from models.engine import Effort, GuardPolicy, Passage, Score
from models.errors import EngineError, EngineTimeout, ModelLoadError, VerdictError
from models.evidence import Kind
from models.gathering import Call, Finding, Part, Window
from models.judge import Answer, Stop, never_due
from models.labels import Float32Array, NoLabel, read_margin
from models.layouts import DEFAULT_BATCH_TOKENS, make_layout
from models.llama.backend import has_gpu, library
from models.llama.errors import DecodeStopped
from models.llama.model import Model
from models.llama.vocabulary import Tokenising
from models.odds import sigmoid
from models.prefix_store import PrefixStore
from models.prompt import (
    ANALYSIS,
    ASSISTANT,
    FINAL_AFTER_ANALYSIS,
    FORCED_FINAL,
    SAFE,
    VIOLATES,
    blocks,
    prefix_pieces,
    render_content,
)
from models.scheduler import PREFIX_CHUNK, Scheduler
from models.trace import goes_in_circles, read_trace, verdict_error
from models.transcript import LEAST_WINDOW, Transcript
from models.turns import Turns
from models.usage import Usage

TRACE_BUDGET = {Effort.NONE: 0, Effort.LOW: 256, Effort.MEDIUM: 1024, Effort.HIGH: 4096}
"""Tokens that the model may think before its verdict is asked for."""

ALWAYS = (0.0, 1.0)
"""The band of uncertainty in which every score lies."""


_N_KNOWN_PREFIXES = 256
_N_ANSWER = 32
"""Tokens of an answer that is no label: enough to tell a refusal from a task."""
_LAST_WORD = 0.15
"""Share of a call's time that is kept for the verdict, however long the model would like to think."""
_OVERTIME_S = 0.5
"""A batch that still runs so long after somebody's deadline is stopped: the proxy takes silence for a hang."""
_TOKENISE_S = 0.1
"""Longest time for new contents between two batches, all together."""
_TURN_S = 0.005
"""Longest time for the contents of one key before it is another's turn. A piece of a text is the least: about 0.7 ms."""


class SafeguardJudge:
    """A loaded gpt-oss model that judges. A `models.judge.SteppedJudge`, and a `LocalJudge` where one call is all there is.

    Args:
        path: First file of the model.
        name: What `model` returns: the model's name and revision.
        lora: A LoRA adapter that is laid over the model.
        effort: How long the model may think.
        reason_band: Direct scores in this range, ends included, are thought about; policies may have a band of their own.
        reason_tokens: Longest trace; None: as `TRACE_BUDGET` says.
        reason_s: Longest time from a call to the end of its traces; None: what the call's deadline allows.
        n_ctx: Tokens of one sequence: policy, window and trace.
        n_threads: Threads for inference.
        max_content_tokens: More is `ContentTooLong`.
        gpu_layers: Layers to put on the GPU; None: all of them, if there is one.
        layout: How policies lie in memory; see `models.layouts.make_layout`.
        n_cells: Tokens of each policy's cache: the policy once, and all that is read against it or kept; None: ``n_ctx``.
        max_policies: Policies that are kept ready, each in a cache of its own.
        max_sequences: Contents that are read against one policy at once.
        max_kept: Contents per policy that stay in its cache, so that a conversation or a stream that goes on is read from where
            it ended; 0: none.
        max_jobs: Calls at once; one more is `EngineOverloaded`.
        batch_tokens: Tokens of one native call.
        attention: How attention is computed, and the type of what is kept for it.
        prefix_cache: Folder for policies that were read; None: they are read again after a restart.
        identity: What identifies the model's file; with ``prefix_cache`` only.

    Raises:
        ModelLoadError: The file cannot be loaded, or is not a gpt-oss model.
    """

    def __init__(
        self,
        path: Path,
        *,
        name: str,
        lora: Path | None = None,
        effort: Effort,
        reason_band: tuple[float, float] = ALWAYS,
        reason_tokens: int | None = None,
        reason_s: float | None = None,
        n_ctx: int,
        n_threads: int,
        max_content_tokens: int,
        gpu_layers: int | None = None,
        layout: str = "auto",
        n_cells: int | None = None,
        max_policies: int = 8,
        max_sequences: int = 8,
        max_kept: int = 8,
        max_jobs: int = 256,
        batch_tokens: int = DEFAULT_BATCH_TOKENS,
        attention: Attention = DEFAULT_ATTENTION,
        prefix_cache: Path | None = None,
        identity: str = "",
    ) -> None:
        self._name = name
        self._effort = effort
        self._band = reason_band
        self._budget = 0 if effort is Effort.NONE else reason_tokens or TRACE_BUDGET[effort]
        self._reason_s = reason_s
        self._max_content_tokens = max_content_tokens
        self._loaded = Model(path, gpu_layers)
        try:
            check_architecture(path, self._loaded.architecture, "llama")
            if lora is not None:
                self._loaded.adapt(lora)
            self._vocabulary = vocabulary = self._loaded.vocabulary
            self._violating, self._safe = (self._one_token(label) for label in (VIOLATES, SAFE))
            self._to_final = vocabulary.encode([*ASSISTANT, *FORCED_FINAL])
            self._to_analysis = vocabulary.encode([*ASSISTANT, *ANALYSIS])
            self._after_analysis = vocabulary.encode(FINAL_AFTER_ANALYSIS)
            self._n_ctx = min(n_ctx, self._loaded.n_ctx_train)
            store = None
            if prefix_cache is not None:
                # Whatever makes numbers round otherwise. Threads too: with flash attention each sums a part of what a lone
                # token looks at (ggml-cpu, "split_kv_path").
                how = (
                    f"{layout}, {attention}, batches of {batch_tokens}, portions of {PREFIX_CHUNK}, {n_threads} threads"
                )
                how += f", {gpu_layers} layers on a GPU ({has_gpu()})"
                store = PrefixStore(prefix_cache, f"{identity} | {library()} | {how}")
            self._layout = make_layout(
                layout,
                self._loaded,
                max_policies=max_policies,
                max_sequences=max_sequences,
                max_kept=max_kept,
                n_cells=max(self._n_ctx, n_cells or 0),
                n_threads=n_threads,
                on_gpu=gpu_layers != 0,
                store=store,
                n_batch=batch_tokens,
                attention=attention,
            )
        except EngineError:
            self._loaded.close()
            raise
        self._scheduler: Scheduler[float] = Scheduler(
            self._layout.shape, max_jobs, is_enough=lambda trace: goes_in_circles(self._vocabulary.text(trace))
        )
        self._prefixes: OrderedDict[tuple[str, str], list[int]] = OrderedDict()
        self._arrived: Turns[Arrival] = Turns()
        self._calls: dict[int, Call] = {}
        self._lone_ids = itertools.count(-1, -1)
        self._batch_s = 0.0
        """How long the last batch took."""

    @property
    def model(self) -> str:
        """Name and revision of what is loaded."""
        return self._name

    @property
    def busy(self) -> bool:
        """Whether there is something to do."""
        return bool(self._calls)

    @property
    def usage(self) -> Usage:
        """What was computed so far."""
        return self._loaded.usage

    def submit(
        self, job_id: int, passages: Sequence[Passage], policies: Sequence[GuardPolicy], stop: Stop, key: str = ""
    ) -> None:
        """Take a call; see `models.judge.SteppedJudge.submit`."""
        call = self._calls[job_id] = Call(policies, stop)
        self._arrived.add(Arrival(job_id, key, passages, call))

    def step(self, due: Callable[[], float] = never_due) -> list[Answer]:
        """Take in what is new and give up what is too late; if that left nobody to be told so, compute one batch.

        ``n_tokens`` of a score is the length of the trace (tier *reasoned*) or what was read of the content (*direct*).
        """
        self._take_in()
        if answers := [*self._give_up(), *self._finished()]:
            return answers  # nobody watches their deadlines any more: they must not wait for a batch
        match self._scheduler.next(time.monotonic(), self._until(due)):
            case Open() as command:
                self._open(command)
            case Batch() as batch:
                self._compute(batch, due)
            case None:
                pass
        return self._finished()

    def judge(
        self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], stop: Stop
    ) -> list[Score | EngineError]:
        """Score one content against several policies while nothing else is under way; see `models.judge.LocalJudge`."""
        job_id = next(self._lone_ids)
        self.submit(job_id, passages, policies, stop)
        while True:
            for answered, entries in self.step():
                if answered == job_id:
                    return entries

    def close(self) -> None:
        """Free the model."""
        self._layout.close()
        self._loaded.close()

    def _take_in(self) -> None:
        """Tokenise what is new, for a moment and in turns; what is not done by then goes on at the next step.

        While others are judged that takes no longer than the last batch: hostile contents at most halve the speed.
        """
        moment_s = min(_TOKENISE_S, max(_TURN_S, self._batch_s)) if len(self._scheduler) else _TOKENISE_S
        end = time.monotonic() + moment_s
        while self._arrived and (began := time.monotonic()) < end:
            arrival = self._arrived.next()
            over = self._tokenise(arrival, min(began + _TURN_S, end))
            self._arrived.had(arrival, time.monotonic() - began, over=over)

    def _tokenise(self, arrival: Arrival, until: float) -> bool:
        """Go on with a content, and hand it to the scheduler at its end; whether there is nothing left to do."""
        call = arrival.call
        if call.stop():
            return True  # it is given up in a moment
        try:
            if arrival.content is None:
                text = render_content(arrival.passages)
                arrival.content = Tokenising(self._vocabulary, text, self._max_content_tokens)
            content = arrival.content.go_on(lambda: time.monotonic() >= until or call.stop())
            if content is None:
                return False
            self._plan(arrival, content)
        except EngineError as error:
            call.entries = [error] * len(call.policies)
        return True

    def _plan(self, arrival: Arrival, content: list[int]) -> None:
        """Make readings of a content and hand them to the scheduler."""
        call = arrival.call
        transcript: Transcript | None = None  # most contents fit into one window
        readings: list[Reading] = []
        for index, policy in enumerate(call.policies):
            try:
                prefix = self._prefix(policy)
                size = self._n_ctx - len(prefix) - self._n_behind
                if size < LEAST_WINDOW:
                    raise EngineError(
                        f"policy {policy.name} and the room to reason leave {size} of {self._n_ctx} tokens for the content: "
                        "raise n_ctx or shorten the policy"
                    )
            except EngineError as error:
                call.entries[index] = error
                continue
            if len(content) <= size:
                windows = [content]
            else:
                transcript = transcript or Transcript(content, blocks(arrival.passages), self._vocabulary)
                windows = transcript.windows(size)
            part = Part(index, len(windows), sum(map(len, windows)))
            band = policy.reason_band or self._band
            for ids in windows:
                policy_key = (policy.revision, policy.text)
                thinks = self._budget > 0 and band == ALWAYS
                window = Window(part, policy_key, prefix, ids, band, thinks)
                call.windows.append(window)
                readings.append(self._reading(window, call))
        if not readings:
            return
        refusal = self._scheduler.submit(
            arrival.job_id, readings, deadline=call.stop.deadline, now=time.monotonic(), key=arrival.key
        )
        if refusal is not None:
            call.entries = [refusal] * len(call.policies)

    def _reading(self, window: Window, call: Call) -> Reading:
        """How a window is read: with thinking, or without."""
        now = time.monotonic()
        until = call.stop.deadline - _LAST_WORD * max(0.0, call.stop.deadline - now)
        return Reading(
            policy=window.key,
            prefix=window.prefix,
            opening=[*window.content, *(self._to_analysis if window.thinks else self._to_final)],
            budget=self._budget if window.thinks else 0,
            closing=self._after_analysis if window.thinks else (),
            n_content=len(window.content),
            n_answer=_N_ANSWER,
            think_until=until if self._reason_s is None else min(until, call.began + self._reason_s),
        )

    def _prefix(self, policy: GuardPolicy) -> list[int]:
        key = (policy.revision, policy.text)
        if key not in self._prefixes:
            self._prefixes[key] = self._vocabulary.encode(prefix_pieces(policy.text, self._effort))
            if len(self._prefixes) > _N_KNOWN_PREFIXES:
                self._prefixes.popitem(last=False)
        self._prefixes.move_to_end(key)
        return self._prefixes[key]

    def _give_up(self) -> list[Answer]:
        """Answer calls whose deadline has passed or whose asker has gone."""
        late = [(job_id, call) for job_id, call in self._calls.items() if call.stop()]
        for job_id, _ in late:
            self._scheduler.cancel(job_id)
            del self._calls[job_id]
        if late:
            self._arrived.keep(self._calls)
        return [(job_id, call.answer(EngineTimeout("the deadline passed before the verdict"))) for job_id, call in late]

    def _finished(self) -> list[Answer]:
        """Answer calls whose policies all have their entries."""
        over = [(job_id, call) for job_id, call in self._calls.items() if call.over]
        for job_id, _ in over:
            del self._calls[job_id]
        return [(job_id, call.answer(EngineError("nothing was judged"))) for job_id, call in over]

    def _open(self, command: Open) -> None:
        try:
            n_read = self._layout.open(command)
        except ModelLoadError:  # memory is short: live with the lanes that there are
            self._scheduler.lose(command.lane)
        else:
            self._scheduler.opened(command.lane, n_read)

    def _compute(self, batch: Batch, due: Callable[[], float]) -> None:
        began = time.perf_counter()
        try:
            logits = self._layout.run(batch, self._stop_for(batch, due))
        except DecodeStopped:  # nothing was done; who is too late is answered next, the others go on
            self._scheduler.stopped(batch, time.perf_counter() - began)
            return
        except EngineError as error:
            verdicts = self._scheduler.fail(batch, error)
        else:
            wanting = [row for row in batch.rows if row.want is not Want.NOTHING]
            values = [self._read(row, numbers) for row, numbers in zip(wanting, logits, strict=True)]
            self._batch_s = time.perf_counter() - began
            verdicts = self._scheduler.take(batch, values, self._batch_s)
        for verdict in verdicts:
            self._note(verdict)

    def _until(self, due: Callable[[], float]) -> float:
        """When somebody would have waited too long for being told that it is too late."""
        return min(due(), *(call.stop.deadline for call in self._calls.values()), math.inf) + _OVERTIME_S

    def _stop_for(self, batch: Batch, due: Callable[[], float]) -> Callable[[], bool]:
        """Stops a batch that is for nobody any more, or makes somebody wait too long for being told that it is too late."""
        stops = [self._calls[job_id].stop for job_id in batch.jobs]
        latest = self._until(due)
        return lambda: time.monotonic() >= min(latest, due() + _OVERTIME_S) or all(stop() for stop in stops)

    def _read(self, row: Row, logits: Float32Array) -> float | int | EngineError | Says | Reading | None:
        """What the scheduler is to know of a row's logits; see `Scheduler.take`."""
        if row.want is not Want.VERDICT:
            return self._next_token(logits)
        assert row.reader is not None
        job, index = row.reader
        call = self._calls[job]
        window = call.windows[index]
        try:
            margin = read_margin(logits, self._violating, self._safe)
        except NoLabel:
            return Says(self._next_token(logits))
        except VerdictError as error:
            return error
        if self._budget and not window.thinks and window.band[0] <= sigmoid(margin) <= window.band[1]:
            window.thinks = True
            return self._reading(window, call)
        return margin

    def _next_token(self, logits: Float32Array) -> int | None:
        token = int(logits.argmax())
        return None if self._vocabulary.special[token] or self._vocabulary.is_end(token) else token

    def _note(self, verdict: Verdict[float]) -> None:
        """A window was judged; with the last of a policy there is an entry."""
        call = self._calls[verdict.job]
        window = call.windows[verdict.index]
        if window.part.note(self._finding(verdict, window)):
            call.settle(window.part)

    def _finding(self, verdict: Verdict[float], window: Window) -> Finding | EngineError:
        if isinstance(verdict.value, EngineError):
            return verdict.value
        if verdict.value is not None:
            trace = self._vocabulary.text(verdict.trace).strip() if window.thinks else None
            return Finding.read(verdict.value, trace, len(verdict.trace), cut=verdict.cut)
        said = read_trace(self._vocabulary.text(verdict.trace), self._vocabulary.text(verdict.answer))
        if said.kind is Kind.VERDICT:  # a label in another spelling, of which the logits say nothing
            return verdict_error(Kind.MALFORMED)
        return verdict_error(said.kind)

    @property
    def _n_behind(self) -> int:
        """Tokens that must fit behind the content."""
        direct, reasoned = len(self._to_final), len(self._to_analysis) + self._budget + len(self._after_analysis)
        return (max(direct, reasoned) if self._budget else direct) + _N_ANSWER

    def _one_token(self, label: str) -> int:
        ids = self._vocabulary.encode_text(label)
        if len(ids) != 1:
            raise ModelLoadError(f"label {label} is not one token of the model's vocabulary")
        return ids[0]
