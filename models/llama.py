"""llama.cpp, typed and guarded: the only file that imports ``llama_cpp``.

A thin cover over the low-level interface of llama-cpp-python 0.3.36. Three rules:

* llama.cpp ends the process on a failed assertion, so whatever a call could trip over is checked first: lengths,
  token ids, sequence ids, free cells (by our own `KvLedger`), NULL where numbers should be.
* Text never becomes a control token: `Vocabulary.encode_text` cuts it apart (`models.cutting`) and then looks at every
  id. Control tokens come from `Vocabulary.control` only.
* A sequence is never half changed: a decode that failed or was stopped leaves it empty (`Context.decode`) or as it was
  (`Context.decode_together`).

One thread at a time. Native calls release the GIL; the abort callback takes it back for a moment at every node of the
compute graph. llama.cpp asks that callback on CPU backends only, so on a GPU a stop is seen between batches.

Still ugly: importing ``llama_cpp`` loads the native library and sets a log callback of its own; `_backend` replaces it.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from llama_cpp import llama_cpp as native

from models.attention import DEFAULT_ATTENTION, Attention, FlashAttention, KvType, native_sequences
from models.cutting import TextCutter
from models.errors import ContentTooLong, EngineError, EngineTimeout, ModelLoadError
from models.labels import Float32Array
from models.ledger import KvLedger
from models.prompt import Control, Piece
from models.usage import Usage

_KEPT_LOG_LINES = 4
_LOG_WARN, _LOG_ERROR = 3, 4  # enum ggml_log_level
_KNOWN_PIECES = 512
"""Of texts that were tokenised before; each has at most `models.cutting.MAX_PIECE_CHARS`."""
_ASKED_EVERY = 8
"""Nodes of a compute graph, of which a model has some hundred: so often `Stop` is asked. Each time took 10 us, after a node has
filled the processor's caches with weights."""
_ABORTED = 2  # what llama_encode returns then
_N_BATCH = 512
_FULL_TILE = 64
_WORTH_FILLING = 48
"""A CPU computes flash attention for 64 tokens at once (ggml-cpu/common.h, GGML_FA_TILE_Q), and for fewer one by one: behind
2,000 tokens 57 take twice as long as 64 in a model of gpt-oss-20b's width, and four times in a small one. So a batch is filled
up to 64 with tokens that nobody sees, from 48 on: there it costs the large model nothing behind 500 tokens, and saves behind
more."""
_ENCODER_WORTH_FILLING = 36
"""In an encoder: 48 tokens of the shipped guard alone take twice as long as 64, and 63 three times. Fewer are read without
flash attention: 32 take 6 ms instead of 11."""
_KV_TYPES = {
    KvType.F32: native.GGML_TYPE_F32,
    KvType.F16: native.GGML_TYPE_F16,
    KvType.BF16: 30,  # ggml.h; the binding has no name for it
    KvType.Q8_0: native.GGML_TYPE_Q8_0,
    KvType.Q4_0: native.GGML_TYPE_Q4_0,
}
_FLASH_ATTENTION = {
    FlashAttention.AUTO: native.LLAMA_FLASH_ATTN_TYPE_AUTO,
    FlashAttention.ON: native.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    FlashAttention.OFF: native.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}

Int32Array = npt.NDArray[np.int32]


class DecodeFailed(EngineError):
    """llama.cpp could not process a batch."""


class ContextFull(DecodeFailed):
    """The KV cache has no room for the batch."""


class DecodeStopped(EngineTimeout):
    """The deadline passed, or the asker left, in the middle of a batch."""


class ForgedControl(EngineError):
    """Text became a control token in spite of all cuts. Nothing was decoded."""


class _Log:
    """Takes llama.cpp's log lines: silent, but remembers the last complaints."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_KEPT_LOG_LINES)
        self.callback = native.llama_log_callback(self._take)  # llama.cpp keeps the pointer: it must outlive us

    def _take(self, level: int, text: bytes | None, _: object) -> None:
        # Lines quote the file, which may be garbage: the binding's own callback failed on bytes that are not UTF-8.
        if level in (_LOG_WARN, _LOG_ERROR) and text and (line := text.decode("utf-8", "replace").strip()):
            self._lines.append("".join(c if c.isprintable() else "?" for c in line[:300]))

    def clear(self) -> None:
        self._lines.clear()

    def __str__(self) -> str:
        return "; ".join(self._lines) or "llama.cpp gave no reason"


@functools.cache
def _backend() -> _Log:
    """Start llama.cpp, once in this process."""
    log = _Log()
    native.llama_log_set(log.callback, ctypes.c_void_p(0))
    native.llama_backend_init()
    return log


def has_gpu() -> bool:
    """Whether this build of llama.cpp can put layers on a GPU, and there is one."""
    _backend()
    return bool(native.llama_supports_gpu_offload())


def library() -> str:
    """What computes: versions, and the features of the processor that decide how it rounds."""
    _backend()
    return f"{version('llama-cpp-python')} {native.llama_print_system_info().decode('utf-8', 'replace')}"


def repacks_safely(features: str, *, loads_whole_tiles: bool) -> bool:
    """Whether llama.cpp may lay weights out anew for the processor's matrix instructions, which makes reading faster.

    Not where it was compiled with Intel's AMX in the usual way: compilers drop part of the tile configuration that it puts on
    the stack, and the process ends at its first batch (llama.cpp issue 20824, pull request 26954).

    Args:
        features: What `library` says.
        loads_whole_tiles: Whether it was compiled with ``tools/amx_tiles.h``, as `make install` does.
    """
    return loads_whole_tiles or "AMX_INT8 = 1" not in features


def _loads_whole_tiles() -> bool:
    """Whether the library has the symbol of ``tools/amx_tiles.h``."""
    try:
        ctypes.c_int.in_dll(native._lib, "safeguard_loads_whole_tile_configuration")
    except ValueError:
        return False
    return True


class Vocabulary:
    """The tokeniser of a model; valid as long as the model is.

    Attributes:
        n_tokens: Size of the vocabulary; ids are ``0 … n_tokens - 1``.
        special: For each id whether text must never become it (control, user-defined and unknown tokens).
        special_spellings: How those are spelled.
    """

    def __init__(self, pointer: Any) -> None:
        self._pointer = pointer
        self.n_tokens = int(native.llama_vocab_n_tokens(pointer))
        mask = native.LLAMA_TOKEN_ATTR_CONTROL | native.LLAMA_TOKEN_ATTR_USER_DEFINED | native.LLAMA_TOKEN_ATTR_UNKNOWN
        attributes = (native.llama_vocab_get_attr(pointer, token) for token in range(self.n_tokens))
        self.special: npt.NDArray[np.bool_] = np.fromiter((bool(a & mask) for a in attributes), np.bool_, self.n_tokens)
        texts = [native.llama_vocab_get_text(pointer, int(token)) or b"" for token in np.flatnonzero(self.special)]
        self.special_spellings = tuple(text.decode("utf-8", "replace") for text in texts)
        self._cutter = TextCutter(self.special_spellings)
        self._known: OrderedDict[str, list[int]] = OrderedDict()
        self._forbidden = self.special
        if native.llama_vocab_type(pointer) == native.LLAMA_VOCAB_TYPE_WPM:
            # A BERT tokeniser answers [UNK] to characters that it does not know; that token gives no power.
            self._forbidden = self.special.copy()
            self._forbidden[self._encode("[UNK]", parse_special=True)] = False

    def encode_text(
        self, text: str, *, max_tokens: int | None = None, stop: Callable[[], bool] | None = None
    ) -> list[int]:
        """Tokenise text that others wrote; whatever it spells, no id is a control token.

        Args:
            text: Any text; lone surrogates become ``?``.
            max_tokens: Most that there may be.
            stop: Asked between the pieces: a text full of forged control tokens can take seconds.

        Raises:
            ContentTooLong: There are more than ``max_tokens``.
            DecodeStopped: ``stop`` said so.
            ForgedControl: An id is a control token all the same.
        """
        ids: list[int] = []
        for piece in self._cutter.pieces(text):
            # each call compiles a regular expression (0.7 ms): repeats are free, and what a text that grew began with
            if (encoded := self._known.get(piece)) is None:
                if stop is not None and stop():
                    raise DecodeStopped("the deadline passed while the content was tokenised")
                encoded = self._encode(piece, parse_special=False).tolist()
                self._known[piece] = encoded
                if len(self._known) > _KNOWN_PIECES:
                    self._known.popitem(last=False)
            self._known.move_to_end(piece)
            ids += encoded
            if max_tokens is not None and len(ids) > max_tokens:
                raise ContentTooLong(f"the content has more than {max_tokens} tokens, the most that this guard reads")
        if ids and self._forbidden[ids].any():
            raise ForgedControl("the content contains a control token that could not be taken apart")
        return ids

    def control(self, spelling: str) -> int:
        """The id of a control token.

        Raises:
            ModelLoadError: The vocabulary has no such control token.
        """
        ids = self._encode(spelling, parse_special=True)
        if len(ids) != 1 or not self.special[ids[0]]:
            raise ModelLoadError(f"the model's vocabulary has no control token {spelling}")
        return int(ids[0])

    def encode(self, pieces: Sequence[Piece]) -> list[int]:
        """Tokenise a prompt: control tokens by name, text as text."""
        ids: list[int] = []
        for piece in pieces:
            ids += [self.control(piece.spelling)] if isinstance(piece, Control) else self.encode_text(piece)
        return ids

    def text(self, ids: Sequence[int]) -> str:
        """The text of tokens, control tokens left out; broken UTF-8 becomes ``�``."""
        # llama_detokenize would write out user-defined ones, and with them most of harmony's.
        plain = np.array([token for token in ids if not self.special[self._checked(token)]], np.int32)
        room = 16 * len(plain) + 16
        while True:
            buffer = ctypes.create_string_buffer(room)
            n = native.llama_detokenize(
                self._pointer,
                _int32_pointer(plain),
                len(plain),
                ctypes.cast(buffer, ctypes.c_char_p),
                room,
                False,
                False,
            )
            if n >= 0:
                return buffer.raw[:n].decode("utf-8", "replace")
            room = -n

    def is_end(self, token: int) -> bool:
        """Whether the model ends its answer with this token."""
        return bool(native.llama_vocab_is_eog(self._pointer, self._checked(token)))

    def _checked(self, token: int) -> int:
        if not 0 <= token < self.n_tokens:
            raise ValueError(f"token {token} is not one of {self.n_tokens}")
        return token

    def _encode(self, text: str, *, parse_special: bool) -> Int32Array:
        raw = text.encode("utf-8", "replace")
        ids = np.empty(len(raw) + 8, np.int32)
        n = native.llama_tokenize(self._pointer, raw, len(raw), _int32_pointer(ids), len(ids), False, parse_special)
        if n < 0:
            raise EngineError(f"llama.cpp could not tokenise {len(raw)} bytes ({n})")
        return ids[:n]


class Model:
    """A loaded GGUF.

    Attributes:
        on_cpu: Whether nothing of it is on a GPU.
        adapter: What `adapt` has laid over it.
        usage: What its contexts have computed.
        architecture: ``general.architecture`` of the file, e.g. ``gpt-oss``.
        vocabulary: Its tokeniser.
        n_ctx_train: Longest sequence that it was made for.
        is_classifier: Whether it has a classification head (rank pooling).
        labels: Names of a classifier's outputs, one for each of them; empty names where the file gives none.
    """

    def __init__(self, path: Path, gpu_layers: int | None = None, *, vocab_only: bool = False) -> None:
        """Load a file.

        Args:
            path: First file of the model.
            gpu_layers: Layers to put on the GPU; None: all of them, if this build has a GPU.
            vocab_only: Load the tokeniser alone, no weights.

        Raises:
            ModelLoadError: llama.cpp cannot load it; the message holds its complaints.
        """
        log = _backend()
        params = native.llama_model_default_params()
        params.n_gpu_layers = gpu_layers if gpu_layers is not None else -1 if native.llama_supports_gpu_offload() else 0
        params.vocab_only = vocab_only
        params.use_extra_bufts = repacks_safely(library(), loads_whole_tiles=_loads_whole_tiles())
        log.clear()
        self._pointer: Any = native.llama_model_load_from_file(os.fsencode(path), params)
        if not self._pointer:
            raise ModelLoadError(f"llama.cpp cannot load {path}: {log}")
        self.on_cpu = params.n_gpu_layers == 0
        self.adapter: Any = None
        self.usage = Usage()
        self.architecture = self._metadata("general.architecture") or "unknown"
        self.n_ctx_train = int(native.llama_model_n_ctx_train(self._pointer))
        rank = str(native.LLAMA_POOLING_TYPE_RANK)
        self.is_classifier = self._metadata(f"{self.architecture}.pooling_type") == rank
        n_outputs = int(native.llama_model_n_cls_out(self._pointer)) if self.is_classifier else 0
        names = (native.llama_model_cls_label(self._pointer, output) or b"" for output in range(n_outputs))
        self.labels = tuple(name.decode("utf-8", "replace") for name in names)
        self.vocabulary = Vocabulary(native.llama_model_get_vocab(self._pointer))

    def adapt(self, path: Path) -> None:
        """Lay a LoRA adapter over the model, in all contexts that are made from now on. It goes with the model.

        Args:
            path: A GGUF of an adapter.

        Raises:
            ModelLoadError: llama.cpp cannot load it, it is for another model, or works behind certain tokens only.
        """
        log = _backend()
        log.clear()
        adapter = native.llama_adapter_lora_init(self.pointer, os.fsencode(path))
        if not adapter:
            raise ModelLoadError(f"llama.cpp cannot load the adapter {path}: {log}")
        if native.llama_adapter_get_alora_n_invocation_tokens(adapter):
            raise ModelLoadError(f"the adapter {path} works behind certain tokens only (aLoRA), which is not supported")
        self.adapter = adapter

    @property
    def pointer(self) -> Any:
        """For contexts of this file.

        Raises:
            ValueError: The model was closed.
        """
        if not self._pointer:
            raise ValueError("the model was closed")
        return self._pointer

    def close(self) -> None:
        """Free the model; its contexts must be closed before."""
        if self._pointer:
            native.llama_model_free(self._pointer)
            self._pointer = None

    def _metadata(self, key: str) -> str | None:
        buffer = ctypes.create_string_buffer(128)
        n = native.llama_model_meta_val_str(self._pointer, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if n >= 0 else None


class _Handle:
    """What both kinds of context share: the pointer, one reusable batch, and the wire from `Stop` to llama.cpp."""

    def __init__(self, model: Model, n_batch: int, **params: int | bool) -> None:
        log = _backend()
        log.clear()
        values = native.llama_context_default_params()
        values.n_batch = values.n_ubatch = n_batch
        for name, value in params.items():
            setattr(values, name, value)
        self._pointer: Any = native.llama_init_from_model(model.pointer, values)
        if not self._pointer:
            raise ModelLoadError(f"llama.cpp cannot make a context: {log}")
        if model.adapter is not None:
            adapters, scales = (type(model.adapter) * 1)(model.adapter), (ctypes.c_float * 1)(1.0)
            if native.llama_set_adapters_lora(self._pointer, adapters, 1, scales) != 0:
                self.close()
                raise ModelLoadError(f"llama.cpp cannot use the adapter: {log}")
        self._n_vocab = model.vocabulary.n_tokens
        self._row = ctypes.POINTER(ctypes.c_float * self._n_vocab)
        self._usage = model.usage
        self._stop: Callable[[], bool] = _never
        self._nodes = itertools.count(1)
        self._abort = native.ggml_abort_callback(lambda _: next(self._nodes) % _ASKED_EVERY == 0 and self._stop())
        native.llama_set_abort_callback(self._pointer, self._abort, ctypes.c_void_p(0))
        self._tokens, self._positions = np.zeros(n_batch, np.int32), np.zeros(n_batch, np.int32)
        self._n_seq_ids, self._wanted = np.ones(n_batch, np.int32), np.zeros(n_batch, np.int8)
        self._sequence_ids = np.zeros(n_batch, np.int32)
        first = self._sequence_ids.ctypes.data
        self._sequences = (ctypes.c_void_p * n_batch)(*(first + 4 * token for token in range(n_batch)))
        self._native_batch = native.llama_batch(
            token=_int32_pointer(self._tokens),
            embd=None,
            pos=_int32_pointer(self._positions),
            n_seq_id=_int32_pointer(self._n_seq_ids),
            seq_id=ctypes.cast(self._sequences, ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
            logits=self._wanted.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )

    @property
    def n_batch(self) -> int:
        """Most tokens of one native call."""
        return len(self._tokens)

    def close(self) -> None:
        """Free the context."""
        if self._pointer:
            native.llama_free(self._pointer)
            self._pointer = None

    def _batch(self, parts: Sequence[tuple[Sequence[int] | Int32Array, int, int]]) -> Any:
        """The native batch, which points to our arrays, filled; no token is wanted yet.

        Args:
            parts: Tokens, position of the first of them, and their sequence.

        Raises:
            ValueError: It is empty or too long, or an id is not in the vocabulary.
        """
        n = sum(len(tokens) for tokens, _, _ in parts)
        if not self._pointer:
            raise ValueError("the context was closed")
        if not 1 <= n <= self.n_batch:
            raise ValueError(f"a batch has 1 to {self.n_batch} tokens, not {n}")
        start = 0
        for tokens, first_position, sequence in parts:
            end = start + len(tokens)
            self._tokens[start:end] = tokens
            self._positions[start:end] = np.arange(first_position, first_position + len(tokens))
            self._sequence_ids[start:end] = sequence
            start = end
        if self._tokens[:n].min() < 0 or self._tokens[:n].max() >= self._n_vocab:
            raise ValueError("a token id lies outside the vocabulary")
        self._wanted[:n] = 0
        self._native_batch.n_tokens = n
        return self._native_batch

    def _call(
        self, function: Callable[[Any, Any], int], batch: Any, stop: Callable[[], bool], n_filling: int = 0
    ) -> int | None:
        """A native call over a batch that ``stop`` may end, counted: its status; None: it did not begin."""
        if stop():
            return None
        self._stop = stop
        began = time.perf_counter()
        try:
            return int(function(self._pointer, batch))
        finally:
            self._stop = _never
            self._usage.n_calls += 1
            self._usage.n_tokens += batch.n_tokens - n_filling
            self._usage.seconds += time.perf_counter() - began


@dataclass(frozen=True, slots=True)
class Part:
    """What one sequence gets in a batch."""

    sequence: int
    tokens: Sequence[int] | Int32Array = field(repr=False)
    want_logits: bool
    """After the last of the tokens."""
    lasting: bool = False
    """Whether the sequence may later be cut back into these tokens, or copied from within them."""


class Context(_Handle):
    """The KV cache of a generative model: sequences that can be extended, copied and removed.

    The cache is either unified, so that copies share their cells, or every sequence has a part of its own, so that
    attention does not walk over the others' cells. It is full-size also for sliding-window layers (``swa_full``): with the
    small window cache, copies of a prefix run out of cells, and a sequence that was cut back gives wrong logits without a
    word.

    Full-size is not enough: llama.cpp (``llama_kv_cache::find_slot``) gives cells to others that one sequence alone holds, once
    they lie outside of the window behind that sequence's end. So whoever is to be cut back further than to there, or copied
    from there, needs a second holder of its cells: `Part.lasting` tokens are also held by a *keeper*, a sequence that nobody
    decodes. Whether the window before a new end is whole is checked at every cut and copy: llama.cpp would not say.
    """

    def __init__(
        self,
        model: Model,
        *,
        n_cells: int,
        n_sequences: int,
        n_threads: int,
        n_batch: int = _N_BATCH,
        unified: bool = True,
        attention: Attention = DEFAULT_ATTENTION,
        keeps: bool = False,
    ) -> None:
        """Make a cache.

        Args:
            model: Stays loaded as long as the context lives.
            n_cells: Tokens that all sequences may have together, shared ones counted once; each the same share of them
                where the cache is not unified.
            n_sequences: How many sequences there may be.
            n_threads: Threads for inference.
            n_batch: Tokens per native call; between calls `Stop` is asked on every backend.
            unified: Whether sequences share cells.
            attention: How attention is computed, and the type of what is kept for it.
            keeps: Whether parts may be lasting, if it is unified; sequences that are not share no cells that could be taken.

        Raises:
            ModelLoadError: There is no memory for it, or llama.cpp refuses.
        """
        if attention.complaint is not None:
            raise ModelLoadError(f"impossible context: kv_type {attention.complaint}")
        keeps = keeps and unified
        n_native = native_sequences(n_sequences) if keeps else n_sequences
        if not 1 <= n_native <= native.llama_max_parallel_sequences() or min(n_cells, n_threads, n_batch) < 1:
            raise ModelLoadError(f"impossible context: {n_cells} cells, {n_sequences} sequences, {n_threads} threads")
        super().__init__(
            model,
            n_batch,
            n_ctx=n_cells,
            n_seq_max=n_native,
            n_threads=n_threads,
            n_threads_batch=n_threads,
            n_outputs_max=n_native,  # its least; the default has room for all of a batch: 412 MB of logits (20b)
            swa_full=True,
            kv_unified=unified,
            flash_attn_type=_FLASH_ATTENTION[attention.flash],
            type_k=_KV_TYPES[attention.kv_type],
            type_v=_KV_TYPES[attention.kv_type],
        )
        self._memory: Any = native.llama_get_memory(self._pointer)
        if not self._memory:
            self.close()
            raise ModelLoadError("the model has no KV cache")
        self._unified = unified
        self._kept: list[int] | None = [0] * n_sequences if keeps else None
        """By sequence: up to where its keeper holds cells."""
        self._fills = keeps and model.on_cpu and attention.flash is not FlashAttention.OFF
        self._n_ctx_seq = int(native.llama_n_ctx_seq(self._pointer))
        self._n_window = int(native.llama_model_n_swa(model.pointer))
        self._ledger = KvLedger(int(native.llama_n_ctx(self._pointer)), n_sequences)

    @property
    def n_free(self) -> int:
        """Cells that no sequence holds."""
        return self._ledger.n_free

    def length(self, sequence: int) -> int:
        """Tokens of a sequence."""
        return self._ledger.length(sequence)

    def decode(
        self,
        tokens: Sequence[int] | Int32Array,
        sequence: int,
        *,
        want_logits: bool,
        stop: Callable[[], bool] | None = None,
    ) -> Float32Array | None:
        """Append tokens to a sequence, in as many batches as it takes.

        Args:
            tokens: At least one.
            sequence: Positions go on from its end.
            want_logits: Whether to return the logits after the last token.
            stop: Asked all the time; true ends the work.

        Returns:
            The logits, shape ``(n_vocab,)``, or None if they were not wanted.

        Raises:
            ContextFull: There are not enough cells.
            DecodeStopped: ``stop`` said so.
            DecodeFailed: llama.cpp refused, or gave no logits.
            ValueError: An id is outside the vocabulary, there is no such sequence or no token. Nothing was changed.
        """
        ids = np.asarray(tokens, np.int32)
        if not len(ids) or ids.min() < 0 or ids.max() >= self._n_vocab:
            raise ValueError("tokens to decode are none, or lie outside the vocabulary")
        logits: list[Float32Array] = []
        try:
            if len(ids) > self.n_free:
                raise ContextFull(f"{len(ids)} tokens do not fit into the KV cache")
            for offset in range(0, len(ids), self.n_batch):
                part = ids[offset : offset + self.n_batch]
                logits = self.decode_together(
                    [Part(sequence, part, want_logits and offset + len(part) == len(ids))], stop or _never
                )
        except EngineError:
            self.remove(sequence)
            raise
        return logits[0].copy() if want_logits else None

    def decode_together(self, parts: Sequence[Part], stop: Callable[[], bool]) -> list[Float32Array]:
        """Append tokens to several sequences in one native call.

        Args:
            parts: At least one; no sequence twice, at most `n_batch` tokens.
            stop: Asked all the time; true ends the work.

        Returns:
            The logits of the parts that want them, in order, each of shape ``(n_vocab,)``; llama.cpp's own memory, valid until
            the next call on this context.

        Raises:
            ContextFull, DecodeStopped, DecodeFailed: As `decode`, but every sequence is as it was before.
            ValueError: As `decode`, and where a sequence stands twice or the tokens are too many.
        """
        lengths = [self.length(part.sequence) for part in parts]
        if len({part.sequence for part in parts}) != len(parts) or any(not len(part.tokens) for part in parts):
            raise ValueError("a sequence stands twice in a batch, or gets no token")
        placed = [(part.tokens, length, part.sequence) for part, length in zip(parts, lengths, strict=True)]
        n_tokens = sum(len(part.tokens) for part in parts)
        n_filling = self._n_filling(n_tokens)
        filling = [([0] * n_filling, 0, self._filler)] if n_filling else []
        batch = self._batch([*placed, *filling])
        if max(length + len(tokens) for tokens, length, _ in placed) > self._n_ctx_seq:
            raise ContextFull("a sequence would grow longer than the KV cache")
        if n_tokens > self.n_free:
            raise ContextFull(f"{n_tokens} tokens do not fit into the KV cache")
        ends = list(itertools.accumulate(len(part.tokens) for part in parts))
        wanted = [end - 1 for part, end in zip(parts, ends, strict=True) if part.want_logits]
        self._wanted[wanted] = 1
        try:
            self._decode(batch, stop, n_filling)
            logits = [self._logits(index) for index in wanted]
        except EngineError:
            # After an abort some of the batch may be in the cache (llama.h): it goes, so that nothing was done.
            for part, length in zip(parts, lengths, strict=True):
                self._cut(part.sequence, length)
            raise
        finally:
            if filling:
                native.llama_memory_seq_rm(self._memory, self._filler, 0, -1)
        for part, length in zip(parts, lengths, strict=True):
            self._ledger.append(part.sequence, len(part.tokens))
            if part.lasting:
                self._keep(part.sequence, length)
        return logits

    def copy(self, source: int, target: int, n_tokens: int | None = None, *, lasting: bool = False) -> None:
        """Make an empty sequence a copy of another, or of its first tokens; the cells are shared, nothing is computed.

        Args:
            source: Which.
            target: The empty one.
            n_tokens: How many; None: all.
            lasting: As `Part.lasting`, for all of them. Not needed as long as the source stays as it is.

        Raises:
            ValueError: The target is not empty, one of the two does not exist or is shorter, or sequences do not share cells.
        """
        if not self._unified:
            raise ValueError(f"sequence {target} shares no cells with others")
        n_tokens = self.length(source) if n_tokens is None else n_tokens
        self._ledger.copy(source, target, n_tokens)
        native.llama_memory_seq_cp(self._memory, source, target, 0, n_tokens)
        self._check_window(target, n_tokens)
        if lasting:
            self._keep(target, 0)

    def remove(self, sequence: int) -> None:
        """Empty a sequence. Copies of it stay whole."""
        self._ledger.clear(sequence)
        self._cut(sequence, 0)

    def save(self, sequence: int) -> bytes:
        """The state of a sequence, for `restore`.

        Raises:
            DecodeFailed: llama.cpp gave none.
        """
        self._ledger.checked(sequence)
        size = native.llama_state_seq_get_size(self._pointer, sequence)
        buffer = (ctypes.c_uint8 * size)()
        if not size or native.llama_state_seq_get_data(self._pointer, buffer, size, sequence) != size:
            raise DecodeFailed("llama.cpp cannot save a sequence")
        return bytes(buffer)

    def restore(self, sequence: int, state: bytes, n_tokens: int) -> bool:
        """Fill an empty sequence with a state that was saved from a context like this one.

        llama.cpp notices a state that is cut off or of another model, but not a changed number in it: the caller does.

        Args:
            sequence: Where to.
            state: What `save` gave.
            n_tokens: Tokens that the sequence had.

        Returns:
            Whether it worked; if not, the sequence is empty.

        Raises:
            ValueError: The sequence is not empty.
            ContextFull: It does not fit.
        """
        if self.length(sequence):
            raise ValueError(f"sequence {sequence} is not empty")
        if n_tokens > min(self.n_free, self._n_ctx_seq):
            raise ContextFull(f"{n_tokens} tokens do not fit into the KV cache")
        buffer = (ctypes.c_uint8 * len(state)).from_buffer_copy(state) if state else None
        n_read = native.llama_state_seq_set_data(self._pointer, buffer, len(state), sequence) if buffer else 0
        first = native.llama_memory_seq_pos_min(self._memory, sequence)
        last = native.llama_memory_seq_pos_max(self._memory, sequence)
        # Of layers with a sliding window a state holds the window only, which is all that later tokens look at.
        if n_read != len(state) or last != n_tokens - 1 or not 0 <= first <= max(0, n_tokens - self._n_window):
            self._cut(sequence, 0)
            return False
        self._ledger.append(sequence, n_tokens)
        return True

    def cut(self, sequence: int, n_tokens: int) -> None:
        """Shorten a sequence to its first tokens; copies of it stay whole.

        Raises:
            ValueError: It is shorter, or there is no such sequence.
        """
        self._ledger.cut(sequence, n_tokens)
        self._cut(sequence, n_tokens)
        self._check_window(sequence, n_tokens)

    def _cut(self, sequence: int, n_tokens: int) -> None:
        """Have llama.cpp forget what stands from a position on. The whole cache is kept (``swa_full``): it always can."""
        if not native.llama_memory_seq_rm(self._memory, sequence, n_tokens, -1):
            raise RuntimeError(f"llama.cpp cannot shorten sequence {sequence} to {n_tokens} tokens")
        if self._kept is not None and self._kept[sequence] > n_tokens:
            native.llama_memory_seq_rm(self._memory, self._keeper(sequence), n_tokens, -1)
            self._kept[sequence] = n_tokens

    def _n_filling(self, n_tokens: int) -> int:
        """With how many tokens to fill a batch up."""
        n_missing = _FULL_TILE - n_tokens
        is_worth_it = self._fills and _WORTH_FILLING <= n_tokens < _FULL_TILE
        return n_missing if is_worth_it and min(self.n_batch, self.n_free) >= _FULL_TILE else 0

    def _keep(self, sequence: int, start: int) -> None:
        """Have the keeper hold what stands from a position on too."""
        if self._kept is not None:
            self._kept[sequence] = self.length(sequence)
            native.llama_memory_seq_cp(self._memory, sequence, self._keeper(sequence), start, self._kept[sequence])

    def _keeper(self, sequence: int) -> int:
        return self._ledger.n_sequences + sequence

    @property
    def _filler(self) -> int:
        """The sequence that batches are filled up with; empty but for that."""
        return 2 * self._ledger.n_sequences

    def _check_window(self, sequence: int, n_tokens: int) -> None:
        """Whether all is there that the next token of a sequence will look at.

        Raises:
            RuntimeError: It is not; what the model would say from here on is worth nothing.
        """
        first = native.llama_memory_seq_pos_min(self._memory, sequence)
        if n_tokens and not 0 <= first <= max(0, n_tokens - self._n_window + 1):
            raise RuntimeError(f"sequence {sequence} lost what stands before position {n_tokens}")

    def _decode(self, batch: Any, stop: Callable[[], bool], n_filling: int) -> None:
        match self._call(native.llama_decode, batch, stop, n_filling):
            case 0:
                return
            case None | 2:  # llama.h: aborted
                raise DecodeStopped("the deadline passed while the model was reading")
            case 1:  # llama.h: no room in the cache
                raise ContextFull(f"{batch.n_tokens} tokens do not fit into the KV cache")
            case status:
                raise DecodeFailed(f"llama.cpp could not decode {batch.n_tokens} tokens (status {status})")

    def _logits(self, index: int) -> Float32Array:
        pointer = native.llama_get_logits_ith(self._pointer, index)
        if not pointer:
            raise DecodeFailed("llama.cpp gave no logits")
        row: Float32Array = np.ctypeslib.as_array(ctypes.cast(pointer, self._row).contents)
        return row


class Classifier(_Handle):
    """Runs an encoder with a classification head, one sequence per call: batches are slower on a CPU.

    On a CPU it has a second context for short sequences, without flash attention.
    """

    _short: Classifier | None = None

    def __init__(
        self,
        model: Model,
        *,
        n_tokens: int,
        n_threads: int,
        flash_attention: FlashAttention = FlashAttention.AUTO,
    ) -> None:
        """Make a context.

        Args:
            model: A classifier; stays loaded as long as the context lives.
            n_tokens: Longest sequence, at most the model's ``n_ctx_train``: beyond it there are no position vectors.
            n_threads: Threads for inference.
            flash_attention: Off: there is no second context.

        Raises:
            ModelLoadError: The model has no classification head, or not that many positions.
        """
        if not model.is_classifier or not model.labels:
            raise ModelLoadError("the model has no classification head (rank pooling)")
        if not 1 <= n_tokens <= model.n_ctx_train or n_threads < 1:
            raise ModelLoadError(f"the model reads up to {model.n_ctx_train} tokens, not {n_tokens}")
        super().__init__(
            model,
            n_tokens,
            n_ctx=n_tokens,
            n_seq_max=2,
            n_threads=n_threads,
            n_threads_batch=n_threads,
            embeddings=True,
            flash_attn_type=_FLASH_ATTENTION[flash_attention],
            pooling_type=native.LLAMA_POOLING_TYPE_RANK,
        )
        self._n_outputs = len(model.labels)
        self._fills = model.on_cpu and n_tokens >= _FULL_TILE and flash_attention is not FlashAttention.OFF
        if self._fills:
            short = {"n_tokens": _ENCODER_WORTH_FILLING - 1, "n_threads": n_threads}
            try:
                self._short = Classifier(model, **short, flash_attention=FlashAttention.OFF)
            except ModelLoadError:
                self.close()
                raise

    def close(self) -> None:
        """Free both contexts."""
        if self._short is not None:
            self._short.close()
        super().close()

    def logits(self, tokens: Sequence[int], stop: Callable[[], bool] | None = None) -> Float32Array:
        """Outputs of the head for one sequence, shape ``(n_outputs,)``.

        Raises:
            DecodeStopped: ``stop`` said so.
            DecodeFailed: llama.cpp refused, or gave no outputs.
            ValueError: There are no tokens, too many, or ids outside the vocabulary.
        """
        if self._short is not None and len(tokens) < _ENCODER_WORTH_FILLING:
            return self._short.logits(tokens, stop)
        fills = self._fills and len(tokens) < _FULL_TILE
        filling = [([0] * (_FULL_TILE - len(tokens)), 0, 1)] if fills else []  # a sequence that nobody reads
        batch = self._batch([(tokens, 0, 0), *filling])
        self._wanted[: batch.n_tokens] = 1
        status = self._call(native.llama_encode, batch, stop or _never)
        if status in (None, _ABORTED):
            raise DecodeStopped("the deadline passed while the model was reading")
        if status != 0:
            raise DecodeFailed(f"llama.cpp could not encode {len(tokens)} tokens (status {status})")
        pointer = native.llama_get_embeddings_seq(self._pointer, 0)
        if not pointer:
            raise DecodeFailed("llama.cpp gave no outputs")
        return np.ctypeslib.as_array(pointer, (self._n_outputs,)).astype(np.float32)


def _never() -> bool:
    return False


def _int32_pointer(array: Int32Array) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
