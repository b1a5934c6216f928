"""Engine ``llama``: gpt-oss-safeguard models, which read a policy and judge a content by it.

Two tiers. *Direct* (effort ``none``) forces the final channel open and reads the two verdict logits: one pass, no
answer is generated, so the content cannot talk the model into another one. *Reasoned* (``low``, ``medium``, ``high``)
lets the model think in its analysis channel up to a budget, then forces the final channel in the same way: there is
always a verdict, also when the trace had to be cut.

The score is the probability of ``1`` among the two labels; it is not calibrated. After a trace that probability is
nearly always close to 0 or 1, and the length of the trace says more (AUROC 0.98 against 0.80 on public traces):
`Score.n_tokens` carries it, for calibration to use.

A content that is longer than what fits beside the policy is judged in overlapping windows; the highest score counts.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from models.engine import Effort, GuardPolicy, Passage, Score, Tier
from models.errors import EngineError, ModelLoadError, VerdictError
from models.judge import Stop
from models.labels import Float32Array, read_score
from models.llama import Context, Model
from models.prefixes import PrefixCache
from models.prompt import (
    ANALYSIS,
    ASSISTANT,
    FINAL_AFTER_ANALYSIS,
    FORCED_FINAL,
    SAFE,
    VIOLATES,
    prefix_pieces,
    render_content,
)
from models.windows import windows

ARCHITECTURE = "gpt-oss"

TRACE_BUDGET = {Effort.NONE: 0, Effort.LOW: 256, Effort.MEDIUM: 1024, Effort.HIGH: 4096}
"""Tokens that the model may think before its verdict is asked for."""

_N_PREFIXES = 15
_MIN_WINDOW_TOKENS = 32
_OVERLAP = 8
"""Windows share one part in so many."""


class SafeguardJudge:
    """A loaded gpt-oss model that judges.

    Args:
        path: First file of the model.
        name: What `model` returns: the model's name and revision.
        effort: How long the model may think.
        n_ctx: Tokens of one sequence: policy, window and trace. The KV cache has twice as many cells, the other half
            holds the policies.
        n_threads: Threads for inference.
        max_content_tokens: More is `ContentTooLong`.
        gpu_layers: Layers to put on the GPU; None: all of them, if there is one.

    Raises:
        ModelLoadError: The file cannot be loaded, or is not a gpt-oss model.
    """

    def __init__(
        self,
        path: Path,
        *,
        name: str,
        effort: Effort,
        n_ctx: int,
        n_threads: int,
        max_content_tokens: int,
        gpu_layers: int | None = None,
    ) -> None:
        self._name = name
        self._effort = effort
        self._max_content_tokens = max_content_tokens
        self._loaded = Model(path, gpu_layers)
        try:
            if self._loaded.architecture != ARCHITECTURE:
                raise ModelLoadError(
                    f"{path} is a {self._loaded.architecture} model: engine llama runs {ARCHITECTURE} models only"
                )
            self._vocabulary = vocabulary = self._loaded.vocabulary
            self._violating, self._safe = (self._one_token(label) for label in (VIOLATES, SAFE))
            self._to_final = vocabulary.encode([*ASSISTANT, *FORCED_FINAL])
            self._to_analysis = vocabulary.encode([*ASSISTANT, *ANALYSIS])
            self._after_analysis = vocabulary.encode(FINAL_AFTER_ANALYSIS)
            self._n_ctx = min(n_ctx, self._loaded.n_ctx_train)
            context = Context(self._loaded, n_cells=2 * self._n_ctx, n_sequences=_N_PREFIXES + 1, n_threads=n_threads)
        except EngineError:
            self._loaded.close()
            raise
        self._prefixes = PrefixCache(context, self._n_ctx, _N_PREFIXES)

    @property
    def model(self) -> str:
        """Name and revision of what is loaded."""
        return self._name

    def judge(
        self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], stop: Stop
    ) -> list[Score | EngineError]:
        """Score one content against several policies; see `LocalJudge`.

        ``n_tokens`` of a score is the length of the trace (tier *reasoned*) or what was read of the content (*direct*).
        """
        try:
            content = self._vocabulary.encode_text(
                render_content(passages), max_tokens=self._max_content_tokens, stop=stop
            )
        except EngineError as error:
            return [error] * len(policies)
        entries: list[Score | EngineError] = []
        for policy in policies:
            try:
                entries.append(self._judge_policy(policy, content, stop))
            except EngineError as error:
                entries.append(error)
        return entries

    def close(self) -> None:
        """Free the model."""
        self._prefixes.close()
        self._loaded.close()

    def _judge_policy(self, policy: GuardPolicy, content: list[int], stop: Stop) -> Score:
        started = time.perf_counter()
        prefix = self._prefixes.open(
            (policy.revision, policy.text),
            lambda: self._vocabulary.encode(prefix_pieces(policy.text, self._effort)),
            stop,
        )
        size = self._n_ctx - prefix.n_tokens - self._n_answer
        if size < _MIN_WINDOW_TOKENS:
            raise EngineError(
                f"policy {policy.name} and the room to reason leave {size} of {self._n_ctx} tokens for the content: "
                "raise n_ctx or shorten the policy"
            )
        best: tuple[float, list[int]] | None = None
        failure: VerdictError | None = None
        n_read = 0
        for start, end in windows(len(content), size, size - size // _OVERLAP):
            self._prefixes.branch(prefix)
            try:
                found = self._judge_window(content[start:end], stop)
            except VerdictError as error:
                failure = error
                continue
            n_read += end - start
            if best is None or found[0] > best[0]:
                best = found
        # A window without verdict makes the answer "no verdict", unless another window is against the policy anyway:
        # otherwise a provoked refusal at the end could hide the violation before it.
        if best is None or (failure is not None and best[0] < 0.5):
            raise failure or VerdictError("nothing was judged")
        value, trace = best
        reasoned = self._effort is not Effort.NONE
        return Score(
            value=value,
            tier=Tier.REASONED if reasoned else Tier.DIRECT,
            calibrated=False,
            rationale=self._vocabulary.text(trace).strip() if reasoned else None,
            n_tokens=len(trace) if reasoned else n_read,
            latency_ms=(time.perf_counter() - started) * 1000,
        )

    @property
    def _n_answer(self) -> int:
        """Tokens that must fit behind the content."""
        if self._effort is Effort.NONE:
            return len(self._to_final)
        return len(self._to_analysis) + TRACE_BUDGET[self._effort] + len(self._after_analysis)

    def _judge_window(self, content: list[int], stop: Stop) -> tuple[float, list[int]]:
        """Score what stands behind the branched prefix; with the trace, if any."""
        trace: list[int] = []
        if self._effort is Effort.NONE:
            logits = self._prefixes.read(content + self._to_final, stop)
        else:
            logits = self._prefixes.read(content + self._to_analysis, stop)
            trace = self._think(logits, stop)
            logits = self._prefixes.read(self._after_analysis, stop)
        return read_score(logits, self._violating, self._safe), trace

    def _think(self, logits: Float32Array, stop: Stop) -> list[int]:
        """Let the model write its analysis, greedily, until it ends it, writes any control token, or the budget ends."""
        trace: list[int] = []
        while len(trace) < TRACE_BUDGET[self._effort]:
            token = int(logits.argmax())
            if self._vocabulary.special[token] or self._vocabulary.is_end(token):
                break
            trace.append(token)
            logits = self._prefixes.read([token], stop)
        return trace

    def _one_token(self, label: str) -> int:
        ids = self._vocabulary.encode_text(label)
        if len(ids) != 1:
            raise ModelLoadError(f"label {label} is not one token of the model's vocabulary")
        return ids[0]
