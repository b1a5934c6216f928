"""The configuration file, section by section. The docstrings here are its reference (``docs/configuration.md``)."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from models.attention import MAX_SEQUENCES, Attention, FlashAttention, KvType, native_sequences
from models.engine import Effort
from models.verdict_cache import DEFAULT_ENTRIES
from proxy.audit.entry import Keep
from proxy.hold import StreamMode
from rules.content import Surface
from rules.policy import Threshold
from rules.rule import Mode, OnError, RewriteWith


def _no_flag(value: Any) -> Any:
    """Pydantic takes ``true`` for 1."""
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


def _flag(value: Any) -> Any:
    """Pydantic takes ``yes``, ``on`` and 1 for true; a variable of the environment is text."""
    if not isinstance(value, bool) and value not in ("true", "false"):
        raise ValueError("must be true or false")
    return value


Int = Annotated[int, BeforeValidator(_no_flag)]
Float = Annotated[float, BeforeValidator(_no_flag)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$")]
Region = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$")]
EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
_MAX_TOGETHER = (MAX_SEQUENCES - native_sequences(0)) // 2 - 1
"""Readings and kept contents of one context: its sequences but for the policy's."""
Host = Annotated[str, Field(min_length=1)]
"""Empty would mean every interface."""
Port = Annotated[Int, Field(ge=0, le=65535)]
Seconds = Annotated[Float, Field(gt=0, le=86400, allow_inf_nan=False)]


class Section(BaseModel):
    """A closed, frozen section: an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Listen(Section):
    """Where the data port listens."""

    host: Host = "127.0.0.1"
    """Address to bind."""
    port: Port = 8080
    """TCP port; 0 picks a free one and prints it."""


class Admin(Section):
    """Where health, metrics and the console are served; never on the data port. Left out: no admin port."""

    host: Host = "127.0.0.1"
    """Address to bind. Without ``token_env`` it must be a loopback address."""
    port: Port = 8081
    """TCP port; 0 picks a free one and prints it."""
    token_env: EnvName | None = None
    """Environment variable with the bearer token that every call must carry, and that the console asks for; if the variable is
    not set, there is no token, only loopback may be bound, and only ``localhost`` and loopback addresses are answered."""


class Audit(Section):
    """One durable record per decision, see docs/audit.md. Left out: the log line of each request, and nothing else."""

    store: Literal["sqlite", "jsonl"] = "sqlite"
    """``sqlite``: one database, for searching; ``jsonl``: files of JSON lines, for what collects them."""
    path: Annotated[str, Field(min_length=1)] = "audit"
    """Folder, looked up beside the configuration; made if it is missing. One process writes to it at a time."""
    durability: Literal["process", "power"] = "process"
    """What a record outlives before anything leaves that it is about: ``process``: the end of the proxy, ``kill -9`` too (the
    kernel has it); ``power``: the end of the machine (the disk has it), which costs an fsync per group of records."""
    on_audit_error: Literal["refuse", "forward"] = "refuse"
    """If a record cannot be written: ``refuse``: 503, and ``/readyz`` says not ready; ``forward``: go on, counted."""
    content: Keep = Keep.NONE
    """What is kept of what was judged: ``none``: lengths, a keyed hash, and where detectors found something; ``redacted``: the
    texts, with what detectors find masked; ``full``: the texts. A route's ``audit_content`` goes before."""
    keep_days: Annotated[Int, Field(ge=1, le=36500)] = 30
    """At this age content is deleted, while the proxy runs; its record stays."""
    keep_records_days: Annotated[Int, Field(ge=1, le=36500)] | None = None
    """At this age records are deleted; left out: never."""
    rotate_mb: Annotated[Int, Field(ge=1, le=1 << 20)] = 100
    """``jsonl``: a file that has grown to this is put aside, and a new one begun."""
    rotate_hours: Annotated[Int, Field(ge=1, le=8760)] = 24
    """``jsonl``: so is a file whose first record is older than this."""

    @model_validator(mode="after")
    def _goes_together(self) -> Audit:
        if self.store != "jsonl" and self.model_fields_set & {"rotate_mb", "rotate_hours"}:
            raise ValueError("rotate_mb and rotate_hours belong to `store: jsonl`")
        if self.keep_records_days is not None and self.keep_records_days < self.keep_days:
            raise ValueError("keep_records_days must not be less than keep_days: no content without its record")
        return self


class Review(Section):
    """A queue of flagged decisions for people to look at, see docs/review.md. Left out: a flag is a mark, and nothing else."""

    path: Annotated[str, Field(min_length=1)] = "review.db"
    """SQLite database, looked up beside the configuration; made if it is missing, with ``.key`` beside it. Several processes
    may use it at a time."""
    content: Keep = Keep.REDACTED
    """What reviewers see, and so what lies on the disk, of what was flagged: ``redacted``: the texts, with what detectors find
    masked; ``full``: the texts; ``none``: scores only, and no item can become an example or a row."""
    keep_days: Annotated[Int, Field(ge=1, le=36500)] = 90
    """At this age items are deleted with their content, decided or not, while the proxy runs; exceptions so long after they
    have expired."""
    on_review_error: Literal["refuse", "forward"] = "refuse"
    """If an item cannot be written: ``refuse``: 503 for what is flagged; ``forward``: go on, counted."""
    hold_s: Annotated[Float, Field(gt=0, le=3600, allow_inf_nan=False)] = 30
    """How long a rule with ``hold: true`` waits for a reviewer, unless it says so itself."""
    max_held: Annotated[Int, Field(ge=1, le=100_000)] = 100
    """So many requests may wait at once; one more takes its rule's ``on_error`` at once."""


class Upstream(Section):
    """A model server behind the proxy."""

    base_url: str
    """OpenAI-compatible base URL, normally ending in ``/v1``; ``demo`` is the built-in echo upstream."""
    api_key_env: EnvName | None = None
    """Environment variable with the upstream's key. Left out: the client's own Authorization header goes through."""
    timeout_s: Seconds = 600
    """Longest time for one whole call."""
    connect_timeout_s: Seconds = 10
    """Longest time to open a connection."""
    max_connections: Annotated[Int, Field(ge=1, le=100_000)] = 512
    """Connections that may be open at once; further requests wait for one, at most ``connect_timeout_s``."""

    @field_validator("base_url")
    @classmethod
    def _http_url(cls, value: str) -> str:
        if value == "demo":
            return value
        return check_http_url(value)


def check_http_url(value: str) -> str:
    """A URL that calls may go to, without a trailing slash.

    Raises:
        ValueError: Another scheme, no host, or credentials, a query or a fragment inside.
    """
    parts = urlsplit(value)
    if not 0 < (443 if parts.port is None else parts.port) <= 65535:  # `port` itself raises for more
        raise ValueError("must have a port from 1 to 65535, or none")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http:// or https:// URL with a host")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must not hold credentials, a query or a fragment (a key belongs into api_key_env)")
    return value.rstrip("/")


def _in_order(band: tuple[float, float]) -> tuple[float, float]:
    if band[0] > band[1]:
        raise ValueError("must have the lower score first")
    return band


Band = Annotated[tuple[Threshold, Threshold], AfterValidator(_in_order)]
"""Two scores, the lower one first."""


class EncoderGuard(Section):
    """A GGUF classifier: built-in categories in one pass, custom policies as pairs."""

    engine: Literal["encoder"]
    """What kind of guard it is."""
    model: str = "embedded"
    """``embedded`` (shipped) or a path to a ``.gguf`` classifier."""
    gpu_layers: Literal["auto"] | Annotated[Int, Field(ge=0)] = 0
    """Layers to put on the GPU."""
    threads: Annotated[Int, Field(ge=1, le=1024)] | None = None
    """Threads for inference; left out: half of the cores."""
    timeout_s: Seconds = 30
    """Longest time for judging one content."""
    max_queue: Annotated[Int, Field(ge=1)] = 256
    """Contents that may wait; one more cannot be judged and takes ``on_error``, unless its route has less than its share of
    them: the number divided by the routes that ask."""
    max_content_tokens: Annotated[Int, Field(ge=64)] = 131072
    """Longer contents cannot be judged and take ``on_error``; nothing is cut."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Hash that the model file must have; left out: the one recorded beside the file."""
    cache_entries: Annotated[Int, Field(ge=0, le=100_000_000)] = DEFAULT_ENTRIES
    """Verdicts that are remembered, so that the same content is not judged twice, nor twice at once; ``0``: all is judged."""
    canaries: Flag = True
    """Whether the guard has to tell one violating and one safe example of each of its policies apart before it is ready."""
    check_memory: Flag = True
    """Refuse a model that needs more memory than is available; ``false``: only log what it needs."""


class LlamaGuard(Section):
    """gpt-oss-safeguard through llama.cpp, in its own process."""

    engine: Literal["llama"]
    """What kind of guard it is."""
    model: str
    """``gpt-oss-safeguard-20b``, ``gpt-oss-safeguard-120b`` (see ``safeguard models list``) or a path to a ``.gguf``."""
    lora: str | None = None
    """A LoRA adapter for the model, as GGUF (llama.cpp's ``convert_lora_to_gguf.py`` makes them), which is laid over it;
    a relative path is looked up beside the configuration. Its hash is part of the model's name on record, so calibrations of
    the model alone do not count for it."""
    effort: Effort = Effort.LOW
    """How much the model may reason, where its first verdict is uncertain: ``none`` always reads the verdict in one forward
    pass; ``low``, ``medium`` and ``high`` may reason for 256, 1024 and 4096 tokens."""
    reason_band: Band = (0.01, 0.99)
    """Scores of the first forward pass in this range, ends included, are uncertain and reasoned about; ``[0, 1]``: all are.
    A policy may have a range of its own."""
    reason_tokens: Annotated[Int, Field(ge=1, le=32768)] | None = None
    """Longest reasoning, in tokens; then the verdict is asked for. Left out: what ``effort`` says."""
    reason_s: Annotated[Float, Field(ge=0, le=3600, allow_inf_nan=False)] | None = None
    """Longest time until the verdict is asked for, in seconds from when the guard takes the content; left out: 85 % of the time
    that there is."""
    second_opinion: str | None = None
    """Name of another guard, e.g. ``embedded``, that is asked at the same time where a policy's calibration weighs what it
    says; ``safeguard calibrate`` makes such calibrations. If it cannot judge, such a verdict is an error."""
    gpu_layers: Literal["auto"] | Annotated[Int, Field(ge=0)] = "auto"
    """Layers to put on the GPU; ``auto``: all."""
    n_ctx: Annotated[Int, Field(ge=512)] = 8192
    """Tokens for policy, content and reasoning together; longer contents are judged in overlapping windows."""
    layout: Literal["auto", "contexts", "streams"] = "auto"
    """How policies lie in memory: a ``contexts`` each, or ``streams`` of one context, so that policies share batches, but each
    stream judges one content at a time and a busy policy needs several; ``auto``: streams on a GPU, contexts elsewhere."""
    max_policies: Annotated[Int, Field(ge=1, le=128)] = 8
    """Policies (or streams) that are kept ready, each in a cache of ``n_ctx`` or ``kv_tokens`` tokens, whichever is more
    (48 KiB per token for the 20b model, 72 KiB for the 120b); of contexts no more are made than policies use the guard. Further
    policies take the place of the least recently used."""
    max_sequences: Annotated[Int, Field(ge=1, le=128)] = 8
    """Contents that are read against one policy at once, in the layout ``contexts``; with ``max_kept`` at most 126 together."""
    max_kept: Annotated[Int, Field(ge=0, le=96, validate_default=True)] = 8
    """Contents that stay in a policy's cache when they were judged, so that of a conversation or a stream that goes on only
    what is new gets read: so many while ``max_sequences`` others are read, more while fewer are. They never take room that is
    needed. In the layout ``streams`` each stream keeps its own, however large the number. ``0``: none."""
    kv_tokens: Annotated[Int, Field(ge=512)] | None = None
    """Tokens of each policy's cache; left out, or less: ``n_ctx``. More keeps more conversations."""
    prefix_cache: str | None = None
    """Folder in which policies are kept once they were read, so that a restart does not read them again (about 48 MB for a
    policy of 1,000 tokens and the 20b model; the 64 that were used last stay); left out: none. It must belong to the user and
    be writable by nobody else."""
    threads: Annotated[Int, Field(ge=1, le=1024)] | None = None
    """Threads for inference; left out: half of the cores."""
    batch_tokens: Annotated[Int, Field(ge=32, le=8192)] = 512
    """Most tokens that are computed together. On a CPU 128 to 2048 were equally fast, and more take more memory; it is for GPUs
    that are not busy with 512."""
    flash_attention: FlashAttention = FlashAttention.AUTO
    """Attention without a table of all scores in memory; ``auto``: wherever it can be done, which every CPU can. ``off`` takes
    more memory, for the 20b model 1 GiB for each cache of 8192 tokens. On a CPU it was up to 30 % slower with policies and full
    batches, and with less than 48 tokens at once (single short contents, traces) up to twice as fast."""
    kv_type: KvType = KvType.F16
    """Type of the numbers in the caches. ``q8_0`` takes about half the memory of ``f16``, ``q4_0`` a quarter; both need flash
    attention, read half to three quarters as fast on a CPU (``q4_0``: a third to a half) and give other scores: of the test
    model's by up to 0.03, and with ``q4_0`` by up to 0.8. ``f32`` needs ``flash_attention: off``."""
    timeout_s: Seconds = 60
    """Longest time for judging one content."""
    max_queue: Annotated[Int, Field(ge=1)] = 256
    """Contents that may wait; one more cannot be judged and takes ``on_error``, unless its route has less than its share of
    them: the number divided by the routes that ask. So does at once one that cannot be judged within the time it has, by the
    speed measured so far."""
    max_content_tokens: Annotated[Int, Field(ge=64)] = 32768
    """Longer contents cannot be judged and take ``on_error``; nothing is cut."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Hash that the model file must have; left out: the one recorded beside the file."""
    cache_entries: Annotated[Int, Field(ge=0, le=100_000_000)] = DEFAULT_ENTRIES
    """Verdicts that are remembered, so that the same content is not judged twice, nor twice at once; ``0``: all is judged."""
    canaries: Flag = True
    """Whether the guard has to tell one violating and one safe example of each of its policies apart before it is ready."""
    check_memory: Flag = True
    """Refuse a model that needs more memory than is available; ``false``: only log what it needs."""

    @field_validator("max_kept")
    @classmethod
    def _fits_into_a_context(cls, value: int, info: ValidationInfo) -> int:
        n_others = info.data.get("max_sequences", 0) + 1  # the policy's
        if info.data.get("layout") != "streams" and native_sequences(value + n_others) > MAX_SEQUENCES:
            raise ValueError(f"max_sequences and max_kept ({value}) must be at most {_MAX_TOGETHER} together")
        return value

    @field_validator("kv_type")
    @classmethod
    def _goes_with_flash_attention(cls, value: KvType, info: ValidationInfo) -> KvType:
        flash = info.data.get("flash_attention")  # missing where it was wrong itself, which is said then
        if flash is not None and (complaint := Attention(flash, value).complaint) is not None:
            raise ValueError(complaint)
        return value


class OpenAIGuard(Section):
    """A safeguard model behind an OpenAI-compatible server (vLLM, llama-server)."""

    engine: Literal["openai"]
    """What kind of guard it is."""
    base_url: str
    """Base URL; verdicts are asked for at ``{base_url}/chat/completions``, or ``/moderations``."""
    api: Literal["chat", "moderations"] = "chat"
    """``chat``: a chat model reads the policy and answers 0 or 1. ``moderations``: a classifier with categories of its own,
    such as OpenAI's; it reads no policy, so each of its policies must name one of its categories (``any``: the highest)."""
    model: str
    """Model name as that server knows it."""
    api_key_env: EnvName | None = None
    """Environment variable with that server's key."""
    second_opinion: str | None = None
    """Name of another guard, e.g. ``embedded``, that is asked at the same time where a policy's calibration weighs what it
    says; ``safeguard calibrate`` makes such calibrations. If it cannot judge, such a verdict is an error."""
    timeout_s: Seconds = 5
    """Longest time for one verdict."""
    max_connections: Annotated[Int, Field(ge=1, le=10_000)] = 64
    """Connections that may be open at once."""
    cache_entries: Annotated[Int, Field(ge=0, le=100_000_000)] = 0
    """Verdicts that are remembered, so that the same content is not judged twice, nor twice at once. ``0``: all is judged; what
    runs behind a server's name can change unseen, so a remote guard's verdicts are remembered only if you say so."""
    canaries: Flag = True
    """Whether the guard has to tell one violating and one safe example of each of its policies apart before it is ready."""
    max_queue: Annotated[Int, Field(ge=1)] = 256
    """Calls that may wait besides ``max_connections``; one more is an error at once."""

    @field_validator("base_url")
    @classmethod
    def _http_url(cls, value: str) -> str:
        return check_http_url(value)


Guard = Annotated[EncoderGuard | LlamaGuard | OpenAIGuard, Field(discriminator="engine")]


class PolicyEntry(Section):
    """A policy: a file, a text or a detector (exactly one of the three)."""

    file: str | None = None
    """Markdown file; looked up beside the configuration, then among the shipped ones."""
    text: str | None = None
    """The policy itself, in plain language."""
    detector: Literal["patterns", "secrets", "pii"] | None = None
    """A named detector."""
    examples: str | None = None
    """File of examples, looked up as ``file`` is: what ``safeguard test`` asks, and what canaries are taken from. Left out: for
    ``NAME.md`` the ``NAME.examples.yaml`` beside it, if there is one."""
    category: str | None = None
    """Which output of an encoder judges it; ``none``: the pair (policy, content). Left out: the file's own, or the pair."""
    summary: str | None = None
    """One-line form that an encoder reads as the policy; left out: the file's own, or what the text forbids and then what it
    allows, cut to fit."""
    refusal_text: str | None = None
    """What the client is told when this policy refuses."""
    rewrite_text: str | None = None
    """For ``rewrite_with: text``: what stands in place of a text that is against this policy; left out: the file's own, or
    what the client would be told."""
    advisory: str | None = None
    """For ``rewrite_with: advisory``: what the upstream is told in a system message; left out: the file's own, or a
    sentence with the policy's title."""
    calibration: str | None = None
    """File with this policy's calibrations, which ``safeguard calibrate`` writes; looked up beside the configuration. Left out:
    for a policy in a file, ``NAME.calibration.json`` beside ``NAME.md``, if there is one."""
    reason_band: Band | None = None
    """Scores of a ``llama`` guard's first forward pass that are reasoned about; left out: the guard's ``reason_band``."""
    patterns: tuple[str, ...] = ()
    """For ``patterns``: regular expressions of a linear-time engine (RE2)."""
    literals: tuple[str, ...] = ()
    """For ``patterns``: plain strings."""
    ignore_case: Flag = False
    """For ``patterns``: match without regard to case."""
    kinds: tuple[str, ...] | None = None
    """For ``pii``: which kinds to look for; left out: all."""

    @model_validator(mode="after")
    def _one_kind(self) -> PolicyEntry:
        given = [k for k in ("file", "text", "detector") if getattr(self, k) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of file, text, detector (has {', '.join(given) or 'none'})")
        if self.detector != "patterns" and (self.patterns or self.literals or self.ignore_case):
            raise ValueError("patterns, literals and ignore_case belong to `detector: patterns`")
        if self.detector == "patterns" and not (self.patterns or self.literals):
            raise ValueError("`detector: patterns` needs patterns or literals")
        if self.detector != "pii" and self.kinds is not None:
            raise ValueError("kinds belongs to `detector: pii`")
        if self.detector is not None and (self.category or self.summary):
            raise ValueError("category and summary belong to a policy with file or text")
        if self.detector is not None and (self.rewrite_text or self.advisory):
            raise ValueError("rewrite_text and advisory belong to a policy with file or text; a detector's rule masks")
        if self.detector is not None and self.calibration is not None:
            raise ValueError("calibration belongs to a policy with file or text; a detector's score is 0 or 1")
        if self.detector is not None and self.reason_band is not None:
            raise ValueError("reason_band belongs to a policy with file or text; a detector does not reason")
        return self


class RuleEntry(Section):
    """A policy at one stage: which guard judges it, and what follows from the score."""

    policy: str
    """Name of a policy."""
    guard: str | tuple[str, ...] | None = None
    """Name of a guard, or a cascade of names: all but the last may only pass or escalate. Left out: ``default_guard``."""
    flag: Threshold | None = None
    """Score from which on the answer is marked and recorded, and goes through."""
    rewrite: Threshold | None = None
    """Score from which on the content is changed, as ``rewrite_with`` says, and judged again; what is still as bad then is
    refused."""
    refuse: Threshold | None = None
    """Score from which on the content is refused."""
    pass_below: Threshold | dict[str, Threshold] | None = None
    """In a cascade: the score under which an earlier guard lets content pass, for all of them or by name of a guard, e.g.
    ``{embedded: 0.02}``; a score at it or above asks the next guard. At most the rule's lowest threshold. Left out: as
    measured for a recall, by ``safeguard calibrate --pass-recall`` for this policy, else for the guard itself; else half of
    the lowest threshold."""
    mode: Mode = Mode.ENFORCE
    """``enforce``; ``shadow``: judged and recorded without any effect; ``off``."""
    on_error: OnError | None = None
    """What a failed verdict counts as; left out: the route's."""
    rewrite_with: RewriteWith | None = None
    """What a rewrite does. ``mask``: stable placeholders such as ``<EMAIL_1>`` in place of what was found; for detectors,
    and their only choice. For policies that a guard judges: ``sentences`` (left out: this) drops those that are against
    the policy by themselves; ``text`` replaces the texts that are by the policy's ``rewrite_text``; ``advisory`` (``input``
    only) changes nothing and tells the upstream about the policy in a system message."""
    restore: Flag = False
    """Whether what this rule masked in the request is put back into the completion (``input`` only)."""
    hold: Flag = False
    """Whether what this rule flags waits for a reviewer before it goes through: upheld is refused, overturned goes through,
    and what nobody decides takes ``on_error``. Needs a section ``review``. Not where text leaves before all was judged:
    rules of ``output`` with ``stream: window`` or ``deliver_first``, rules of ``input`` with ``overlap``."""
    hold_s: Annotated[Float, Field(gt=0, le=3600, allow_inf_nan=False)] | None = None
    """How long it waits at most; left out: as ``review`` says."""
    scope: Annotated[tuple[Surface, ...], Field(min_length=1)] | None = None
    """Surfaces that the rule reads; left out: the policy's own, or all."""

    @field_validator("flag", "rewrite", "refuse", mode="before")
    @classmethod
    def _a_number(cls, value: Any) -> Any:
        wrong = ValueError("must be a number from 0 to 1")
        if isinstance(value, bool):
            raise wrong
        if isinstance(value, str):  # from the environment: YAML cannot say so without quotes
            try:
                return float(value)
            except ValueError:
                raise wrong from None
        return value

    @field_validator("pass_below", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        given = list(value.values()) if isinstance(value, dict) else [value]
        if any(isinstance(v, bool) or not isinstance(v, (int, float)) or not 0 <= v <= 1 for v in given):
            raise ValueError("must be a number from 0 to 1, or such numbers by name of a guard, e.g. {embedded: 0.02}")
        return value

    @property
    def passes_below(self) -> dict[str, float]:
        """``pass_below`` by name of the guard."""
        if self.pass_below is None or isinstance(self.pass_below, dict):
            return self.pass_below or {}
        return dict.fromkeys(self._earlier, self.pass_below)

    @property
    def _earlier(self) -> tuple[str, ...]:
        """The guards that may only pass or escalate."""
        return self.guard[:-1] if isinstance(self.guard, tuple) else ()

    @model_validator(mode="after")
    def _does_something(self) -> RuleEntry:
        given = [t for t in (self.flag, self.rewrite, self.refuse) if t is not None]
        if not given:
            raise ValueError("needs at least one threshold: flag, rewrite or refuse")
        if self.pass_below is not None and not self._earlier:
            raise ValueError("pass_below: is for a cascade, so `guard` must be a list of at least two guards")
        for name, limit in self.passes_below.items():
            if name not in self._earlier:
                known = ", ".join(self._earlier)
                raise ValueError(f"pass_below: {name!r} is no earlier guard of the cascade (those are: {known})")
            if limit > min(given):
                raise ValueError(
                    f"pass_below: {limit:g} is above the lowest threshold: what asks for an action may not pass; "
                    f"use {min(given):g} or less"
                )
        if isinstance(self.guard, tuple) and not self.guard:
            raise ValueError("guard: names none; leave it out for `default_guard`")
        if isinstance(self.guard, tuple) and len(set(self.guard)) < len(self.guard):
            raise ValueError("guard: a cascade asks each guard once, so no name may stand twice")
        if self.hold and self.flag is None:
            raise ValueError("hold: what is flagged waits, so the rule needs a threshold `flag`")
        if self.hold_s is not None and not self.hold:
            raise ValueError("hold_s: belongs to `hold: true`")
        return self


class Match(Section):
    """What a route takes: everything given must match."""

    path: str | None = None
    """Glob on the request path, e.g. ``/eu/v1/*``; what stands before ``/v1`` is not sent to the upstream. A glob that no path
    that is served can match is an error."""
    headers: dict[str, str] = {}
    """Header values, exact; names without regard to case."""
    models: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Globs on the request's ``model``, case-sensitive."""
    key_env: Annotated[tuple[EnvName, ...], Field(min_length=1)] | None = None
    """Names of environment variables; the client's bearer token must be the value of one of them. Another token matches no
    worse than none: the next route is tried. The token is never logged; it reaches an upstream that has no ``api_key_env``, as
    any client's does, so a key that only tells clients apart needs an upstream with a key of its own."""

    @field_validator("path")
    @classmethod
    def _begins_with_slash(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("/"):
            raise ValueError("must begin with / and lead to /v1/…, for example /eu/v1/*")
        return value


class Route(Section):
    """What happens to the requests that it matches. The first matching route wins; none: 404."""

    name: Name
    """Its name in records and metrics."""
    match: Match = Match()
    """Left out: takes everything under ``/v1``; what stands before that (``/eu/v1``) is taken by routes that name it."""
    extends: str | None = None
    """Name of another route, wherever it stands: what this one does not say itself is as there, ``match`` apart. Its rules are
    added to the other's; for a policy that has rules at the same stage there, they take the place of those."""
    strictest_of: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Names of other routes: this one has all their rules, with the lowest thresholds and the gravest of their settings, so
    it is always as strict as each of them. It has no rules and no such settings of its own; what says nothing about strictness
    (``upstream``, ``refusal``, …) is as in all of them, or said here."""
    base: Flag = False
    """Only there to be extended: it takes no request."""
    region: Region | None = None
    """A word for where its requests come from, e.g. ``eu``: stands in the log and on record."""
    upstream: str = ""
    """Name of an upstream. Required, here or in the route that is extended."""
    refusal: Literal["error", "message"] = "error"
    """``error``: HTTP 400; ``message``: a completion whose text is the refusal. Choose ``message`` behind a gateway that
    falls back to another model on errors. Embeddings, which have no text, are always refused with an error."""
    refusal_text: str | None = None
    """What the client is told when no policy says it."""
    stream: StreamMode = StreamMode.BUFFER
    """``buffer``: a streamed answer is held until it is judged as a whole. ``window``: text leaves once a verdict covers
    it, window by window. ``deliver_first``: text leaves at once, is judged meanwhile and cut when it is refused."""
    window_chars: Annotated[Int, Field(ge=1)] = 400
    """``window`` and ``deliver_first``: so much unjudged text of one choice asks for a verdict. Near a threshold up to four
    times as much, far below all of them half as much."""
    overlap_chars: Annotated[Int, Field(ge=0)] = 200
    """``window``: so much judged text is held back, so that what begins in it is judged whole. No part of a detector's
    match that is no longer than this leaves."""
    overlap: Flag = False
    """Ask the upstream while the request is still judged: faster, but a request that is refused has reached it and may be
    billed. Nothing comes back before the verdict. Requests with tools, images, files, or fields or words that nobody
    knows are judged first all the same."""
    server_state: Literal["refuse", "allow"] = "refuse"
    """Fields that refer to text on the upstream's side (``previous_response_id``, ``conversation``, ``prompt``,
    ``item_reference``, ``background: true``; of tools: containers and skills by id, vector stores) are 400, and ``store`` is
    forced to false; ``allow``: they cross, and count as unjudged."""
    on_error: OnError = OnError.REFUSE
    """What a failed verdict counts as, for rules that do not say."""
    unknown_fields: Literal["screen", "refuse"] = "screen"
    """Request fields that are not known: judged and forwarded, or 400. Lists of more than 16 whole numbers in them, which may
    be token ids, are 400 either way."""
    opaque: OnError = OnError.REFUSE
    """Images, audio and files, those of tools too, which no guard here can read."""
    max_body_bytes: Annotated[Int, Field(ge=1024, le=1 << 30)] = 10 * 1024 * 1024
    """Largest request, and largest completion that is held."""
    max_event_bytes: Annotated[Int, Field(ge=1024, le=1 << 28)] = 1024 * 1024
    """Largest single event of an upstream's stream, with the comments and blank lines before it."""
    passthrough: tuple[Annotated[str, Field(pattern=r"^/v1/[A-Za-z0-9._~/*-]+$")], ...] = ()
    """Globs on paths from ``/v1`` on, e.g. ``/v1/files*``, that reach the upstream **unread and unjudged**, with their answers.
    Of the query cross ``limit``, ``after``, ``before``, ``order``, ``purpose``, ``include``, ``include[]`` (at most 128
    letters, digits and ``_-.:``) and ``api-version``. Paths that are judged here never do, nor what lies below them (but for
    ``/v1/models/NAME``), nor the same endpoints at another address (``/v1/engines/…/completions``). Left out: every other
    path is 404."""
    audit_content: Keep | None = None
    """What the audit keeps of this route's content: ``none``, ``redacted`` or ``full``; left out: as ``audit`` says."""
    input: tuple[RuleEntry, ...] = ()
    """Rules for what goes to the upstream."""
    output: tuple[RuleEntry, ...] = ()
    """Rules for what comes back."""


class Config(Section):
    """The whole file."""

    listen: Listen = Listen()
    """Data port."""
    admin: Admin | None = None
    """Admin port."""
    audit: Audit | None = None
    """Records of decisions."""
    review: Review | None = None
    """Flagged decisions, for people to look at."""
    upstreams: Annotated[dict[Name, Upstream], Field(min_length=1)]
    """Upstreams by name."""
    guards: dict[Name, Guard] = {"embedded": EncoderGuard(engine="encoder")}
    """Guards by name; left out: the shipped one, as ``embedded``."""
    default_guard: str | None = None
    """The guard of rules that name none; left out: the only guard, or ``embedded``."""
    policies: dict[Name, PolicyEntry] = {}
    """Policies by name."""
    routes: Annotated[tuple[Route, ...], Field(min_length=1)]
    """Routes, first match wins."""
