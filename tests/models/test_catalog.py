"""Names, files and hashes of models; pulling from a server that acts like the hub."""

from __future__ import annotations

import fcntl
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from models import catalog
from models.catalog import HUB_MODELS
from models.download import choose_files
from models.errors import ModelLoadError

NAME = "gpt-oss-safeguard-20b"
BIG = "gpt-oss-safeguard-120b"
WEIGHTS = b"GGUF" + bytes(range(256)) * 2000


@pytest.fixture(autouse=True)
def models_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAFEGUARD_MODELS_DIR", str(tmp_path / "models"))
    return tmp_path / "models"


def write(path: Path, data: bytes = WEIGHTS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class TestNames:
    def test_the_models_folder_is_configured_or_in_the_users_cache(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        assert catalog.models_dir() == tmp_path / "models"
        monkeypatch.delenv("SAFEGUARD_MODELS_DIR")
        monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
        assert catalog.models_dir() == Path("/cache/safeguard/models")
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")
        monkeypatch.setenv("HOME", "/home/somebody")
        assert catalog.models_dir() == Path("/home/somebody/.cache/safeguard/models")

    def test_a_path_to_a_gguf_is_a_model(self, tmp_path: Path) -> None:
        path = write(tmp_path / "own.gguf")
        assert catalog.resolve(str(path)) == path

    def test_a_path_in_the_home_folder_is_found(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        path = write(tmp_path / "own.gguf")
        assert catalog.resolve("~/own.gguf") == path

    def test_a_pulled_model_is_found_by_its_name(self, models_dir: Path) -> None:
        path = write(models_dir / NAME / "anything.gguf")
        assert catalog.resolve(NAME) == path

    def test_the_embedded_model_lies_in_the_package(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(catalog, "EMBEDDED_PATH", tmp_path / "embedded.gguf")
        with pytest.raises(ModelLoadError, match="missing from this installation"):
            catalog.resolve("embedded")
        path = write(tmp_path / "embedded.gguf")
        assert catalog.resolve("embedded") == path
        assert catalog.pull("embedded") == path

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            (NAME, f"safeguard models pull {NAME}"),
            ("gpt-5", "use one of embedded, gpt-oss-safeguard-20b"),
            ("/nowhere/m.gguf", "does not exist"),
            ("../../etc/passwd", "unknown model"),
            ("", "unknown model"),
        ],
    )
    def test_what_is_not_here_is_answered_with_what_to_do(self, name: str, words: str) -> None:
        with pytest.raises(ModelLoadError) as caught:
            catalog.resolve(name)
        assert words in str(caught.value)

    def test_a_split_model_is_its_first_file_and_must_be_complete(self, models_dir: Path) -> None:
        first = write(models_dir / BIG / "m-MXFP4-00001-of-00002.gguf")
        with pytest.raises(ModelLoadError, match=r"lacks m-MXFP4-00002-of-00002\.gguf"):
            catalog.resolve(BIG)
        second = write(models_dir / BIG / "m-MXFP4-00002-of-00002.gguf")
        assert catalog.resolve(BIG) == first
        assert catalog.resolve(str(first)) == first
        assert catalog.parts(first) == [first, second]

    def test_two_models_in_one_folder_are_ambiguous(self, models_dir: Path) -> None:
        write(models_dir / NAME / "a.gguf")
        write(models_dir / NAME / "b.gguf")
        with pytest.raises(ModelLoadError, match=r"a\.gguf, b\.gguf"):
            catalog.resolve(NAME)

    def test_every_model_is_listed_with_what_is_here(self, models_dir: Path) -> None:
        path = write(models_dir / NAME / "m.gguf")
        catalog.record_sha256(path, sha256(WEIGHTS))
        by_name = {status.name: status for status in catalog.list_models()}
        assert set(by_name) == {"embedded", NAME, BIG}
        assert by_name[NAME].path == path
        assert by_name[NAME].size_bytes == len(WEIGHTS)
        assert by_name[NAME].recorded_sha256 == sha256(WEIGHTS)
        assert by_name[BIG].path is None


class TestHashes:
    def test_a_model_is_verified_against_the_record(self, models_dir: Path) -> None:
        path = write(models_dir / NAME / "m.gguf")
        (verified,) = catalog.verify(NAME)
        assert not verified.recorded
        catalog.record_sha256(path, sha256(WEIGHTS))
        (verified,) = catalog.verify(NAME)
        assert (verified.path, verified.sha256, verified.recorded) == (path, sha256(WEIGHTS), True)

    def test_an_encoders_second_file_is_verified_too(self, tmp_path: Path) -> None:
        path, second = write(tmp_path / "m.gguf"), write(tmp_path / "m-pair.gguf", WEIGHTS + b"more")
        assert [verified.path for verified in catalog.verify(str(path))] == [path], "nothing names the other one"
        named = {"sha256": sha256(WEIGHTS), "pair_sha256": sha256(WEIGHTS + b"more")}
        (tmp_path / "m.json").write_text(json.dumps(named))
        assert [(v.path, v.recorded) for v in catalog.verify(str(path))] == [(path, True), (second, True)]
        write(second, WEIGHTS + b"mord")
        with pytest.raises(ModelLoadError, match="m-pair"):
            catalog.verify(str(path))
        (tmp_path / "m.json").write_text("{")
        with pytest.raises(ModelLoadError, match=r"m\.json"):
            catalog.verify(str(path))

    def test_one_flipped_bit_is_noticed(self, models_dir: Path) -> None:
        path = write(models_dir / NAME / "m.gguf")
        catalog.record_sha256(path, sha256(WEIGHTS))
        write(path, WEIGHTS[:-1] + bytes([WEIGHTS[-1] ^ 1]))
        with pytest.raises(ModelLoadError, match="expected"):
            catalog.verify(NAME)
        with pytest.raises(ModelLoadError, match="expected"):
            catalog.check(path, None)

    def test_a_file_that_is_no_gguf_is_refused(self, tmp_path: Path) -> None:
        path = write(tmp_path / "m.gguf", b"version https://git-lfs.github.com/spec/v1\n")
        with pytest.raises(ModelLoadError, match="not a GGUF"):
            catalog.check(path, None)

    def test_the_configured_hash_counts_before_the_recorded_one(self, tmp_path: Path) -> None:
        path = write(tmp_path / "m.gguf")
        catalog.record_sha256(path, "0" * 64)
        assert catalog.check(path, sha256(WEIGHTS).upper())
        catalog.record_sha256(path, sha256(WEIGHTS))
        with pytest.raises(ModelLoadError):
            catalog.check(path, "0" * 64)

    def test_every_part_of_a_split_model_is_checked(self, tmp_path: Path) -> None:
        first = write(tmp_path / "m-00001-of-00002.gguf")
        second = write(tmp_path / "m-00002-of-00002.gguf")
        assert catalog.check(first, sha256(WEIGHTS))
        catalog.record_sha256(second, "0" * 64)
        with pytest.raises(ModelLoadError, match="00002-of-00002"):
            catalog.check(first, sha256(WEIGHTS))

    def test_a_file_that_did_not_change_is_not_hashed_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write(tmp_path / "m.gguf")
        state = catalog.check(path, None)
        hashed: list[Path] = []

        def remember(path: Path) -> str:
            hashed.append(path)
            return sha256(path.read_bytes())

        monkeypatch.setattr(catalog, "sha256_of", remember)
        assert catalog.check(path, None, verified=state) == state
        assert hashed == []
        write(path, WEIGHTS + b"more")
        assert catalog.check(path, None, verified=state) != state
        assert hashed == [path]

    def test_a_missing_file_is_a_load_error(self, tmp_path: Path) -> None:
        with pytest.raises(ModelLoadError):
            catalog.check(tmp_path / "m.gguf", None)

    @pytest.mark.parametrize(
        "record", [b"", b"abc", b"\xff\xff", b"z" * 64], ids=["empty", "short", "binary", "not-hex"]
    )
    def test_a_record_that_cannot_be_read_does_not_count_as_none(self, tmp_path: Path, record: bytes) -> None:
        path = write(tmp_path / "m.gguf")
        write(tmp_path / "m.gguf.sha256", record)
        with pytest.raises(ModelLoadError, match="recorded hash"):
            catalog.check(path, None)


class TestChoice:
    def test_the_first_pattern_that_matches_wins(self) -> None:
        names = ["README.md", "x-F16.gguf", "x-Q4_K_M.gguf", "x-Q4_K_M.gguf.txt", "config.json"]
        assert choose_files(HUB_MODELS[NAME], names) == ["x-Q4_K_M.gguf"]
        assert choose_files(HUB_MODELS[NAME], ["x-F16.gguf"]) == ["x-F16.gguf"]

    def test_a_split_model_is_all_its_files_in_order(self) -> None:
        names = ["sub/x-MXFP4-00002-of-00002.gguf", "sub/x-MXFP4-00001-of-00002.gguf"]
        assert choose_files(HUB_MODELS[BIG], names) == sorted(names)

    @pytest.mark.parametrize(
        "names",
        [
            pytest.param([], id="none"),
            pytest.param(["x-Q2_K.gguf"], id="no-match"),
            pytest.param(["a-Q4_K_M.gguf", "b-Q4_K_M.gguf"], id="ambiguous"),
            pytest.param(["x-Q4_K_M-00001-of-00002.gguf"], id="incomplete"),
        ],
    )
    def test_anything_unclear_is_refused(self, names: list[str]) -> None:
        with pytest.raises(ModelLoadError):
            choose_files(HUB_MODELS[NAME], names)


class Hub:
    """A repository as huggingface_hub sees it: ``/api/models/REPO`` and ``/REPO/resolve/REVISION/FILE``."""

    revision = "c0ffee" + "0" * 34

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {f"{NAME}-Q4_K_M.gguf": WEIGHTS, "README.md": b"hi"}
        self.announced: dict[str, str | None] = {}
        self.cut_after: list[int] = []
        """For each download: end the connection after so many bytes."""
        self.status = 200
        self.ranges: list[str | None] = []
        self.tokens: set[str | None] = set()

    def siblings(self) -> list[dict[str, object]]:
        return [
            {
                "rfilename": name,
                "size": len(data),
                "blobId": "b",
                **(
                    {"lfs": {"size": len(data), "sha256": announced, "pointerSize": 130}}
                    if (announced := self.announced.get(name, sha256(data))) is not None
                    else {}
                ),
            }
            for name, data in self.files.items()
        ]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            hub.tokens.add(self.headers.get("Authorization"))
            path = urlsplit(self.path).path
            if hub.status != 200:
                self.reply(hub.status, b"{}")
            elif path.startswith("/api/models/"):
                body = {"id": path.removeprefix("/api/models/"), "sha": hub.revision, "siblings": hub.siblings()}
                self.reply(200, json.dumps(body).encode())
            else:
                assert f"/resolve/{hub.revision}/" in path
                self.send_file(hub.files[path.rpartition("/")[2]])

        def send_file(self, data: bytes) -> None:
            asked = self.headers.get("Range")
            hub.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(len(data) - start))
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            if hub.cut_after:
                self.wfile.write(data[start : start + hub.cut_after.pop(0)])
                self.close_connection = True
            else:
                self.wfile.write(data[start:])

        def reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
    yield hub
    server.shutdown()
    thread.join()
    server.server_close()


class TestPull:
    def test_a_pulled_model_can_be_resolved_and_verified(self, hub: Hub, models_dir: Path) -> None:
        path = catalog.pull(NAME, progress=False)
        assert path == models_dir / NAME / f"{NAME}-Q4_K_M.gguf"
        assert path.read_bytes() == WEIGHTS
        assert catalog.recorded_sha256(path) == sha256(WEIGHTS)
        assert catalog.resolve(NAME) == path
        assert catalog.verify(NAME)[0].recorded
        assert not list(path.parent.glob("*.partial"))

    def test_there_is_a_progress_bar_unless_it_is_unwanted(
        self, hub: Hub, models_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TQDM_POSITION", "-1")  # huggingface_hub: draw even where there is no terminal
        catalog.pull(NAME, progress=False)
        assert capsys.readouterr().err == ""
        (models_dir / NAME / f"{NAME}-Q4_K_M.gguf").unlink()
        catalog.pull(NAME)
        assert "100%" in capsys.readouterr().err

    def test_a_model_that_is_here_is_not_downloaded_again(self, hub: Hub) -> None:
        catalog.pull(NAME, progress=False)
        catalog.pull(NAME, progress=False)
        assert len(hub.ranges) == 1

    def test_a_damaged_model_is_replaced(self, hub: Hub) -> None:
        path = catalog.pull(NAME, progress=False)
        write(path, b"GGUF damaged")
        assert catalog.pull(NAME, progress=False).read_bytes() == WEIGHTS

    def test_an_interrupted_download_is_taken_up_by_the_next_pull(
        self, hub: Hub, models_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("time.sleep", lambda seconds: None)  # http_get waits between its own attempts
        monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)  # what a cut can lose
        hub.cut_after = [100_000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        with pytest.raises(ModelLoadError, match="run it again to continue"):
            catalog.pull(NAME, progress=False)
        with pytest.raises(ModelLoadError, match="safeguard models pull"):
            catalog.resolve(NAME)
        (partial,) = (models_dir / NAME).glob("*.partial")
        size = partial.stat().st_size
        assert 0 < size < len(WEIGHTS)
        hub.cut_after, hub.ranges = [], []
        assert catalog.pull(NAME, progress=False).read_bytes() == WEIGHTS
        assert hub.ranges == [f"bytes={size}-"]

    def test_a_file_that_changed_on_the_hub_is_not_continued(self, hub: Hub, models_dir: Path) -> None:
        write(models_dir / NAME / f"{NAME}-Q4_K_M.gguf.{'0' * 16}.partial", b"GGUF of another revision")
        assert catalog.pull(NAME, progress=False).read_bytes() == WEIGHTS
        assert hub.ranges == [None]

    def test_a_partial_file_that_is_too_long_is_started_again(self, hub: Hub, models_dir: Path) -> None:
        write(models_dir / NAME / f"{NAME}-Q4_K_M.gguf.{sha256(WEIGHTS)[:16]}.partial", WEIGHTS + b"x")
        assert catalog.pull(NAME, progress=False).read_bytes() == WEIGHTS

    def test_what_has_not_the_announced_hash_is_deleted(self, hub: Hub, models_dir: Path) -> None:
        hub.announced[f"{NAME}-Q4_K_M.gguf"] = "0" * 64
        with pytest.raises(ModelLoadError, match="the hub announced 0000"):
            catalog.pull(NAME, progress=False)
        assert [path.name for path in (models_dir / NAME).iterdir()] == [".lock"]

    def test_without_an_announced_hash_the_own_one_is_recorded(self, hub: Hub) -> None:
        hub.announced[f"{NAME}-Q4_K_M.gguf"] = None
        assert catalog.recorded_sha256(catalog.pull(NAME, progress=False)) == sha256(WEIGHTS)

    def test_a_split_model_comes_whole(self, hub: Hub) -> None:
        hub.files = {f"{BIG}-MXFP4-0000{part}-of-00002.gguf": WEIGHTS + bytes([part]) for part in (1, 2)}
        first = catalog.pull(BIG, progress=False)
        assert [path.read_bytes()[-1] for path in catalog.parts(first)] == [1, 2]
        assert all(verified.recorded for verified in catalog.verify(BIG))

    def test_the_hubs_token_is_sent(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        catalog.pull(NAME, progress=False)
        assert hub.tokens == {"Bearer hf_test"}

    @pytest.mark.parametrize("status", [401, 404, 403])
    def test_a_hub_that_refuses_is_one_line(self, hub: Hub, status: int) -> None:
        hub.status = status
        with pytest.raises(ModelLoadError, match=f"cannot pull {NAME}") as caught:
            catalog.pull(NAME, progress=False)
        assert "\n" not in str(caught.value)

    def test_a_hub_that_is_not_there_is_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
        with pytest.raises(ModelLoadError, match=f"cannot pull {NAME}") as caught:
            catalog.pull(NAME, progress=False)
        assert "\n" not in str(caught.value)

    def test_a_disk_without_room_is_refused_before_the_download(
        self, hub: Hub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10}))
        with pytest.raises(ModelLoadError, match="GB free"):
            catalog.pull(NAME, progress=False)
        assert hub.ranges == []

    def test_two_pulls_of_a_model_at_a_time_are_refused(self, hub: Hub, models_dir: Path) -> None:
        lock = write(models_dir / NAME / ".lock", b"")
        with lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            with pytest.raises(ModelLoadError, match="another pull"):
                catalog.pull(NAME, progress=False)

    def test_only_models_of_the_hub_can_be_pulled(self) -> None:
        with pytest.raises(ModelLoadError, match="models that can be pulled"):
            catalog.pull("gpt-5")
