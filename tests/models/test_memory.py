from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from models import memory_check, wire
from models.attention import FlashAttention, KvType
from models.available_memory import available_bytes, may_have_gpu, names_a_gpu
from models.catalog import EMBEDDED_PATH, pair_path
from models.gguf_header import HeaderError, Length, Value, read_header
from models.memory import (
    Estimate,
    Layout,
    buffer_bytes,
    estimate,
    kv_cache_bytes,
    read_shape,
    show_bytes,
)
from models.memory_check import Need, gpu_share, layout_of, look
from models.specs import LocalSpec
from tests.models.gguf_fixtures import write_bert, write_second

TINY = Path(__file__).parents[1] / "data" / "tiny-gpt-oss.gguf"
KIB, MIB, GIB = 1024, 1024**2, 1024**3

GPT_OSS_20B: Mapping[str, Value] = {
    "general.architecture": "gpt-oss",
    "gpt-oss.context_length": 131_072,
    "gpt-oss.block_count": 24,
    "gpt-oss.embedding_length": 2_880,
    "gpt-oss.feed_forward_length": 2_880,
    "gpt-oss.expert_feed_forward_length": 2_880,
    "gpt-oss.expert_count": 32,
    "gpt-oss.expert_used_count": 4,
    "gpt-oss.attention.head_count": 64,
    "gpt-oss.attention.head_count_kv": 8,
    "gpt-oss.attention.key_length": 64,
    "gpt-oss.attention.value_length": 64,
    "gpt-oss.attention.sliding_window": 128,
    "tokenizer.ggml.tokens": Length(201_088),
}
WEIGHTS_20B = int(11.27 * GIB)


def changed(**values: Value | None) -> dict[str, Value]:
    """The 20b head with other values; None removes a key. Keys are named by their last part."""
    header = dict(GPT_OSS_20B)
    for key in [key for key in header if key.rpartition(".")[2] in values]:
        value = values[key.rpartition(".")[2]]
        header.pop(key)
        if value is not None:
            header[key] = value
    return header


@pytest.mark.parametrize(
    ("n_layers", "layout", "size"),
    [
        pytest.param(24, Layout(256, 1), 256 * 48 * KIB, id="20b"),
        pytest.param(36, Layout(256, 1), 256 * 72 * KIB, id="120b"),
        pytest.param(24, Layout(1_000, 1), 1_024 * 48 * KIB, id="cells-come-in-portions"),
        pytest.param(24, Layout(3_000, 3, unified=False), 3 * 1_024 * 48 * KIB, id="so-do-those-of-each-stream"),
        pytest.param(24, Layout(8_192, 16), 384 * MIB, id="20b-8k"),
        # half, and twelve windowed layers of 16 x 128 + 512 cells
        pytest.param(24, Layout(8_192, 16, swa_full=False), 192 * MIB + 12 * 2_560 * 2 * KIB, id="20b-8k-windowed"),
        pytest.param(24, Layout(512, 16, swa_full=False), 24 * MIB, id="a-window-is-no-larger-than-the-cache"),
        pytest.param(24, Layout(8_192, 16, kv_type=KvType.Q8_0), 204 * MIB, id="20b-8k-q8"),
    ],
)
def test_the_kv_cache_of_gpt_oss_is_as_large_as_is_known(n_layers: int, layout: Layout, size: int) -> None:
    assert kv_cache_bytes(read_shape(changed(block_count=n_layers)), layout) == size


def test_kv_heads_may_differ_by_layer() -> None:
    shape = read_shape(changed(block_count=3, head_count_kv=(8, 0, 4)))
    assert kv_cache_bytes(shape, Layout(256, 1)) == 256 * (8 + 0 + 4) * 128 * 2


def test_what_a_20b_guard_needs() -> None:
    shape = read_shape(GPT_OSS_20B)
    layout = layout_of(LocalSpec("g", "llama", "m.gguf", gpu_layers=0, n_policies=6), shape)
    assert layout == Layout(n_cells=8_192, n_sequences=35, n_contexts=6)
    need = estimate(shape, WEIGHTS_20B, layout)
    assert (need.weights, need.kv_cache) == (WEIGHTS_20B, 6 * 384 * MIB)
    assert str(need) == "14.9 GiB (weights 11.3 GiB, KV cache 2.2 GiB, buffers 1.2 GiB, process 125 MiB)"


def test_layers_on_a_gpu_need_no_memory_here() -> None:
    shape = read_shape(GPT_OSS_20B)
    need = estimate(shape, WEIGHTS_20B, Layout(16_384, 16), gpu_share=1.0)
    assert (need.weights, need.kv_cache) == (0, 0)
    assert estimate(shape, WEIGHTS_20B, Layout(16_384, 16), gpu_share=0.5).kv_cache == 384 * MIB


def test_contexts_of_their_own_are_counted_each() -> None:
    shape = read_shape(GPT_OSS_20B)
    one, six = (estimate(shape, 0, Layout(4_096, 4, n_contexts=n)) for n in (1, 6))
    assert (six.kv_cache, six.buffers, six.process) == (6 * one.kv_cache, 6 * one.buffers, one.process)


def test_a_guard_does_not_ask_for_more_context_than_the_model_was_made_for() -> None:
    shape = read_shape(changed(context_length=2_048))
    assert layout_of(LocalSpec("g", "llama", "m.gguf", n_ctx=8_192), shape).n_cells == 2_048


def test_streams_are_parts_of_one_context_and_contexts_no_more_than_are_used() -> None:
    shape = read_shape(GPT_OSS_20B)
    spec = LocalSpec("g", "llama", "m.gguf", gpu_layers=0, n_policies=20, max_policies=4, max_sequences=2, max_kept=0)
    assert layout_of(spec, shape) == Layout(n_cells=8_192, n_sequences=7, n_contexts=4)
    assert layout_of(replace(spec, max_kept=5, kv_tokens=9_000), shape) == Layout(9_000, n_sequences=17, n_contexts=4)
    streams = Layout(n_cells=4 * 8_192, n_sequences=4, unified=False)
    assert layout_of(replace(spec, layout="streams"), shape) == streams


def test_only_what_more_policies_need_besides_is_asked_of_a_guard_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = LocalSpec("g", "llama", str(TINY), gpu_layers=0, n_policies=2, max_policies=4)
    two, four = (look(replace(spec, n_policies=n), TINY).estimate.total for n in (2, 4))
    monkeypatch.setattr(memory_check, "available_bytes", lambda: four - two)
    assert memory_check.more_policies(spec, 4) is None
    assert memory_check.more_policies(spec, 9) is None, "no more contexts than max_policies are made"
    monkeypatch.setattr(memory_check, "available_bytes", lambda: four - two - 1)
    said = str(memory_check.more_policies(spec, 4))
    assert said.startswith("guard g needs ")
    assert "more memory for 4 policies" in said
    assert memory_check.more_policies(spec, 2) is None
    assert memory_check.more_policies(replace(spec, model="/nowhere.gguf"), 4) is None


def test_what_is_configured_of_batches_and_attention_counts() -> None:
    shape = read_shape(GPT_OSS_20B)
    spec = LocalSpec("g", "llama", "m.gguf", gpu_layers=0, max_policies=1)
    plain = estimate(shape, 0, layout_of(spec, shape))
    quantised = estimate(shape, 0, layout_of(replace(spec, kv_type=KvType.Q8_0), shape))
    assert quantised.kv_cache == plain.kv_cache * 34 // 64
    table = estimate(shape, 0, layout_of(replace(spec, flash_attention=FlashAttention.OFF), shape))
    assert table.buffers - plain.buffers == 512 * 8_192 * (64 * 4 + 2 * 2)  # scores of 64 heads, and two wider masks
    large = estimate(shape, 0, layout_of(replace(spec, batch_tokens=2_048), shape))
    assert 3 * plain.buffers < large.buffers < 4 * plain.buffers


@pytest.mark.parametrize(
    ("gpu_layers", "has_gpu", "share"),
    [(None, False, 0.0), (None, True, 1.0), (0, True, 0.0), (12, True, 0.48), (25, False, 1.0), (99, True, 1.0)],
)
def test_the_share_of_a_gpu(gpu_layers: int | None, has_gpu: bool, share: float) -> None:
    assert gpu_share(gpu_layers, 24, has_gpu) == share


@pytest.mark.parametrize(
    "header",
    [
        pytest.param({}, id="empty"),
        pytest.param({"general.architecture": 7}, id="architecture-is-a-number"),
        pytest.param({"general.architecture": "bert"}, id="no-sizes"),
        pytest.param(changed(block_count=None), id="no-layers"),
        pytest.param(changed(block_count=0), id="zero-layers"),
        pytest.param(changed(block_count=2**40), id="too-many-layers"),
        pytest.param(changed(block_count=-1), id="negative"),
        pytest.param(changed(block_count="24"), id="text"),
        pytest.param(changed(block_count=24.0), id="fraction"),
        pytest.param(changed(block_count=True), id="boolean"),
        pytest.param(changed(head_count=0, key_length=None), id="no-heads"),
        pytest.param(changed(head_count_kv=(8,) * 23), id="a-layer-is-missing"),
        pytest.param(changed(head_count_kv=(8,) * 23 + (-8,)), id="negative-heads"),
        pytest.param(changed(head_count_kv=(8,) * 23 + (8.5,)), id="half-a-head"),
        pytest.param(changed(head_count_kv=Length(5_000)), id="heads-of-too-many-layers"),
        pytest.param(changed(tokens=None), id="no-vocabulary"),
        pytest.param(changed(expert_used_count="all"), id="experts-are-text"),
    ],
)
def test_an_impossible_head_is_a_load_error(header: Mapping[str, Value]) -> None:
    with pytest.raises(HeaderError):
        read_shape(header)


def test_the_encoder_keeps_no_cache() -> None:
    shape = read_shape(read_header(EMBEDDED_PATH))
    assert (shape.n_layers, shape.n_vocab, set(shape.n_kv)) == (6, 30_522, {0})
    need = look(LocalSpec("g", "encoder", "embedded"), EMBEDDED_PATH).estimate
    size = EMBEDDED_PATH.stat().st_size + pair_path(EMBEDDED_PATH).stat().st_size
    assert (need.weights, need.kv_cache) == (size, 0)
    assert need.total < 170 * MIB


_REPORT = """
import ctypes, sys
from llama_cpp import llama_cpp as native
path, n_cells, n_sequences, n_batch, swa_full, encoder = sys.argv[1], *map(int, sys.argv[2:])
write = native.llama_log_callback(lambda level, text, _: sys.stdout.write(text.decode("utf-8", "replace")) and None)
native.llama_log_set(write, ctypes.c_void_p(0))
native.llama_backend_init()
model = native.llama_model_load_from_file(path.encode(), native.llama_model_default_params())
params = native.llama_context_default_params()
params.n_ctx, params.n_seq_max, params.n_batch, params.n_ubatch = n_cells, n_sequences, n_batch, n_batch
if encoder:
    params.embeddings, params.pooling_type = True, native.LLAMA_POOLING_TYPE_RANK
else:
    params.swa_full, params.kv_unified, params.n_outputs_max = bool(swa_full), True, n_sequences
assert native.llama_init_from_model(model, params)
"""


@pytest.mark.parametrize(
    ("path", "layout"),
    [
        pytest.param(TINY, Layout(16_384, 16), id="as-the-llama-engine"),
        pytest.param(TINY, Layout(4_096, 4, n_batch=256), id="small"),
        pytest.param(TINY, Layout(16_384, 16, swa_full=False), id="windowed"),
        pytest.param(EMBEDDED_PATH, Layout(512, 1, n_batch=512), id="shipped-encoder"),
    ],
)
def test_llama_cpp_reports_what_was_estimated(path: Path, layout: Layout) -> None:
    arguments = (layout.n_cells, layout.n_sequences, layout.n_batch, layout.swa_full, path == EMBEDDED_PATH)
    done = subprocess.run(
        [sys.executable, "-c", _REPORT, str(path), *(str(int(n)) for n in arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    def reported(name: str) -> float:
        return sum(float(size) * MIB for size in re.findall(rf"\b{name} buffer size = +([\d.]+) MiB", done.stdout))

    shape = read_shape(read_header(path))
    assert kv_cache_bytes(shape, layout) == reported("KV")
    used = reported("compute") + reported("output")
    assert 1 * MIB < used <= buffer_bytes(shape, layout) < 4 * used


_GUARD_REPORT = """
import ctypes, json, sys, time
from pathlib import Path
from llama_cpp import llama_cpp as native
from models import wire
from models.engine import GuardPolicy, Passage
from models.judge import Stop
from models.llama.backend import backend
from models.loading import load_judge
backend()
write = native.llama_log_callback(lambda level, text, _: sys.stdout.write(text.decode("utf-8", "replace")) and None)
native.llama_log_set(write, ctypes.c_void_p(0))
spec = wire.read_spec(json.loads(sys.argv[1]))
judge = load_judge(spec, Path(spec.model))
policies = [GuardPolicy(f"p{i}", "r", f"Content about number {i} is a violation.") for i in range(spec.n_policies)]
judge.submit(1, [Passage("user", "A pear.")], policies, Stop(time.monotonic() + 60))
while judge.busy:
    judge.step()
judge.close()
"""


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="defaults"),
        pytest.param({"n_policies": 9}, id="more-policies-than-contexts"),
        pytest.param({"n_ctx": 1_000, "max_kept": 0, "max_sequences": 2}, id="few-sequences-and-an-odd-size"),
        pytest.param({"kv_tokens": 4_096}, id="larger-caches"),
        pytest.param({"kv_type": "q8_0"}, id="q8_0"),
        pytest.param({"kv_type": "q4_0", "batch_tokens": 1_024}, id="q4_0-large-batches"),
        pytest.param({"kv_type": "bf16", "flash_attention": "off"}, id="bf16-without-flash-attention"),
        pytest.param({"kv_type": "f32", "flash_attention": "off", "batch_tokens": 64}, id="f32-small-batches"),
        pytest.param({"flash_attention": "on", "batch_tokens": 8_192, "n_ctx": 512}, id="batches-larger-than-caches"),
        pytest.param({"layout": "streams"}, id="streams"),
        pytest.param(
            {"layout": "streams", "flash_attention": "off", "n_ctx": 700}, id="streams-without-flash-attention"
        ),
        pytest.param({"layout": "streams", "kv_type": "q8_0", "kv_tokens": 4_096}, id="streams-q8_0"),
        pytest.param({"layout": "streams", "batch_tokens": 8_192, "n_ctx": 512}, id="streams-batches-of-many"),
    ],
)
def test_a_guard_takes_the_memory_that_was_estimated(options: dict[str, object]) -> None:
    given = {"n_ctx": 2_048, "n_policies": 3, "max_policies": 4, "gpu_layers": 0, "effort": "none", "threads": 1}
    message = wire.load_message(LocalSpec("g", "llama", str(TINY)), str(TINY), None)
    message["spec"] |= given | options
    arguments = [sys.executable, "-c", _GUARD_REPORT, orjson.dumps(message).decode()]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True)

    def reported(name: str) -> float:
        return sum(float(size) * MIB for size in re.findall(rf"\b{name} buffer size = +([\d.]+) MiB", done.stdout))

    need = look(wire.read_spec(message), TINY).estimate
    assert need.kv_cache == pytest.approx(reported("KV"), rel=0.005)  # it is printed with two digits
    used = reported("compute") + reported("output")
    assert 1 * MIB < used <= need.buffers < 2.5 * used


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "0 MiB"), (25 * MIB, "25 MiB"), (GIB - 1, "1024 MiB"), (int(12.5 * GIB), "12.5 GiB")]
)
def test_sizes_are_shown_short(size: int, shown: str) -> None:
    assert show_bytes(size) == shown


# what there is


def system(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


MEMINFO = {"proc/meminfo": "MemTotal:       24684084 kB\nMemFree:          100000 kB\nMemAvailable:   16000000 kB\n"}
ALL = 16_000_000 * KIB


def group(path: str, limit: object, usage: int, **statistics: int) -> dict[str, str]:
    lines = "".join(f"{name} {value}\n" for name, value in statistics.items())
    names = {"memory.max": f"{limit}\n", "memory.current": f"{usage}\n", "memory.stat": lines}
    return {f"sys/fs/cgroup/{path}{name}": text for name, text in names.items()}


def old_group(path: str, limit: int, usage: int, cached: int) -> dict[str, str]:
    names = {"memory.limit_in_bytes": f"{limit}\n", "memory.usage_in_bytes": f"{usage}\n"}
    names |= {"memory.stat": f"cache 1\ntotal_inactive_file {cached}\ntotal_active_file 0\n"}
    return {f"sys/fs/cgroup/memory/{path}{name}": text for name, text in names.items()}


@pytest.mark.parametrize(
    ("files", "available"),
    [
        pytest.param({}, None, id="another-system"),
        pytest.param(MEMINFO, ALL, id="no-groups"),
        pytest.param(MEMINFO | {"proc/self/cgroup": "0::/\n"}, ALL, id="top-group-without-limit"),
        pytest.param(
            MEMINFO | {"proc/self/cgroup": "0::/a/b\n"} | group("a/b/", 4 * GIB, GIB, anon=9, inactive_file=MIB),
            3 * GIB + MIB,
            id="limit",
        ),
        pytest.param(
            MEMINFO | {"proc/self/cgroup": "0::/a/b\n"} | group("a/b/", "max", GIB) | group("a/", 2 * GIB, GIB),
            GIB,
            id="limit-above",
        ),
        pytest.param(
            MEMINFO | {"proc/self/cgroup": "0::/a\n"} | group("a/", GIB, 2 * GIB), 0, id="more-used-than-allowed"
        ),
        pytest.param(
            MEMINFO | {"proc/self/cgroup": "0::/seen/from/outside\n"} | group("", 2 * GIB, GIB),
            GIB,
            id="a-container-that-sees-its-group-as-the-top",
        ),
        pytest.param(
            MEMINFO | {"proc/self/cgroup": "0::/a\n"} | group("a/", 100 * GIB, GIB), ALL, id="limit-above-the-machine"
        ),
        pytest.param(
            MEMINFO
            | {"proc/self/cgroup": "9:name=systemd:/\n4:cpu,memory:/job\n0::/\n"}
            | old_group("job/", 3 * GIB, GIB, MIB)
            | old_group("", 2**63 - 4096, GIB, 0),
            2 * GIB + MIB,
            id="version-1",
        ),
    ],
)
def test_what_is_available_is_the_least_that_machine_and_groups_allow(
    tmp_path: Path, files: dict[str, str], available: int | None
) -> None:
    assert available_bytes(system(tmp_path, files)) == available


def test_a_gpu_shows_as_a_device(tmp_path: Path) -> None:
    assert not may_have_gpu(tmp_path)
    assert may_have_gpu(system(tmp_path, {"dev/nvidiactl": ""}))


@pytest.mark.parametrize(
    ("libraries", "found"),
    [
        pytest.param({"libggml.so", "libggml-base.so.0", "libggml-cpu.so"}, False, id="cpu"),
        pytest.param({"libggml-base.so", "libggml-cpu-haswell.so", "libggml-blas.so"}, False, id="cpu-variants"),
        pytest.param({"libggml-base.so", "libggml-cpu.so", "libggml-cuda.so"}, True, id="cuda"),
        pytest.param({"ggml-base.dll", "ggml-cpu.dll", "ggml-vulkan.dll"}, True, id="vulkan-windows"),
        pytest.param({"libllama.so"}, True, id="nothing-that-is-known"),
    ],
)
def test_what_llama_cpp_was_built_for_shows_in_its_libraries(libraries: set[str], found: bool) -> None:
    assert names_a_gpu(libraries) is found


def test_a_gpu_that_llama_cpp_was_not_built_for_takes_no_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = read_shape(GPT_OSS_20B)
    spec = LocalSpec("g", "llama", "m.gguf")
    monkeypatch.setattr(memory_check, "may_have_gpu", lambda: True)
    for built, layout in [(True, "streams"), (False, "contexts")]:
        monkeypatch.setattr(memory_check, "built_for_gpu", lambda built=built: built)
        assert layout_of(spec, shape) == layout_of(replace(spec, layout=layout), shape)


def test_layers_for_a_gpu_that_llama_cpp_was_not_built_for_are_counted_here(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = LocalSpec("g", "llama", str(TINY), gpu_layers=99)
    for built, weights in [(True, 0), (False, TINY.stat().st_size)]:
        monkeypatch.setattr(memory_check, "built_for_gpu", lambda built=built: built)
        assert look(spec, TINY).estimate.weights == weights


# both together

NEED = Estimate(weights=11 * GIB, kv_cache=768 * MIB, buffers=200 * MIB, process=100 * MIB)


@pytest.mark.parametrize(("available", "fits"), [(None, True), (NEED.total, True), (NEED.total - 1, False), (0, False)])
def test_a_model_fits_if_all_of_it_does(available: int | None, fits: bool) -> None:
    assert Need(NEED, available).fits is fits


def test_a_complaint_has_the_numbers_and_what_to_do() -> None:
    assert Need(NEED, 8 * GIB).complaint("safeguard") == (
        "guard safeguard needs 12.0 GiB (weights 11.0 GiB, KV cache 768 MiB, buffers 200 MiB, process 100 MiB) of memory, "
        "and 8.0 GiB are available: take a smaller model, n_ctx, kv_tokens or max_policies, put layers on a GPU, or set check_memory to false"
    )


def test_an_encoder_of_two_files_needs_both_and_a_context_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_bert(tmp_path / "m.gguf", labels=("hate", "violence"))
    monkeypatch.setattr(memory_check, "may_have_gpu", lambda: False)
    spec = LocalSpec("g", "encoder", str(path))
    one = look(spec, path).estimate
    second = write_second(path)
    both = look(spec, path).estimate
    assert both.weights == one.weights + second.stat().st_size
    assert both.buffers == 2 * one.buffers
    assert both.process > one.process


def test_all_files_of_a_split_model_are_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (tmp_path / f"m-0000{part}-of-00002.gguf" for part in (1, 2))
    first.write_bytes(TINY.read_bytes())
    second.write_bytes(bytes(1_000))
    monkeypatch.setattr(memory_check, "may_have_gpu", lambda: False)
    spec = LocalSpec("g", "llama", str(first))
    assert look(spec, first).estimate.weights == TINY.stat().st_size + 1_000
