"""Wrong words: every fault is told at once, with what would be legal, exit code 2 and never a traceback."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dougong.cli.entry
from dougong.cli import main
from dougong.errors import DougongError, EnvironmentLacking
from dougong.plan.types import OBJECTIVES

Run = Callable[..., Any]
ON = ("--on", "hgx-h100")


def refused(said: Any, *wanted: str, code: int = 2) -> None:
    assert said.code == code, said
    assert said.out == ""
    assert said.err.startswith("error: "), said.err
    assert "Traceback" not in said.err
    for words in wanted:
        assert words in said.err, f"{words!r} is not in:\n{said.err}"


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("--tpot", "50"), ("--tpot", "unit is missing", "50 ms")),
        (("--tpot", "-5ms"), ("--tpot", "less than nothing")),
        (("--tpot", "0ms"), ("tpot", "positive")),
        (("--tpot", "nan"), ("--tpot", "cannot read")),
        (("--tpot", "inf"), ("--tpot", "cannot read")),
        (("--tpot", "1e999s"), ("--tpot", "finite")),
        (("--ttft", "2 parsecs"), ("--ttft", "parsecs")),
        (("--prompt", "0"), ("prompt_tokens", "between")),
        (("--prompt", "-1"), ("--prompt", "less than nothing")),
        (("--prompt", "many"), ("--prompt", "cannot read")),
        (("--output", "1e30"), ("output_tokens", "between")),
        (("--prefix-hit", "100%"), ("prefix_hit_frac", "[0, 1)")),
        (("--rate", "0"), ("rate", "positive")),
        (("--users", "0.5"), ("users", "at least 1")),
        (("--rate", "2", "--users", "3"), ("contradict",)),
        (("--trace", "t", "--prompt", "5"), ("--trace", "leave out", "No such file")),
        (("--objective", "speed"), ("objective", "throughput, cost, latency, chips")),
        (("--objective", "chips"), ("needs a load",)),
        (("--mode", "both"), ("mode", "disaggregated")),
        (("--precision", "fp7"), ("precision", "int8")),
        (("--kv-dtype", "fp7"), ("--kv-dtype", "bf16")),
        (("--kv-dtype", "fp32"), ("fp32",)),
        (("--engine", "community2"), ("--engine", "vendor-tuned")),
        (("--chips", "0"), ("chips", "1 to")),
        (("--chips", "2.5"), ("--chips", "whole")),
        (("--draft-tokens", "99"), ("draft tokens",)),
        (("--acceptance", "0.7"), ("acceptance", "contradictory")),
        (("--draft-tokens", "1", "--acceptance", "1.5"), ("acceptance",)),
        (("--imbalance", "0.5"), ("imbalance",)),
        (("--top", "0"), ("--top", "1 to 100")),
        (("--usd-per-chip-hour", "-1"), ("--usd-per-chip-hour", "less than nothing")),
        (("--usd-per-kwh", "3 apples"), ("--usd-per-kwh", "apples")),
        (("--watts-per-chip", "1 GB"), ("--watts-per-chip", "GB")),
        (("--pue", "0.5"), ("PUE",)),
        (("--users", "1e308"), ("--users", "at most 1,000,000,000")),
        (("--rate", "1e12"), ("--rate", "at most 1,000,000,000")),
        (("--usd-per-chip-hour", "1e308"), ("--usd-per-chip-hour", "at most 1,000,000 USD/h")),
        (("--usd-per-kwh", "1e9"), ("--usd-per-kwh", "at most")),
        (("--grid", "1e9 g/kWh"), ("--grid", "at most")),
        (("--watts-per-chip", "1 TW"), ("--watts-per-chip", "at most 1,000,000 W")),
        (("--tpot", "50ms", "--ttft", "1s", "--tpot", "20ms"), ("--tpot is given 2 times",)),
        (("--region", "mars"), ("--region", "mars", "world")),
        (("--plot", "x.jpg"), ("--plot", ".png or .svg")),
        (("--plot", "no-such-folder/x.png"), ("--plot", "no folder")),
        (("--catalog", "no-such-folder"), ("no-such-folder", "no folder")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_word_is_told(run: Run, model: str, words: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    refused(run("plan", model, *ON, *words), *wanted)


def test_all_faults_are_told_at_once(run: Run) -> None:
    said = run(
        "plan", "no-such-model", "--on", "no-such-system", "--prompt", "x", "--tpot", "50", "--mode", "both",
        "--precision", "fp7", "--engine", "e", "--top", "0", "--plot", "x.jpg",
    )  # fmt: skip
    refused(
        said, "9 faults", "no-such-model", "no-such-system", "--prompt", "--tpot", "mode", "fp7", "--engine", "--top",
        "--plot",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (("plan", "x.json", "--on", "cloudmatrix38"), "cloudmatrix384"),
        (("plan", "x.json", "--on", "9 x nvidia-h100-sx"), "nvidia-h100-sxm"),
        (("catalog", "show", "huawei-910"), "huawei-910"),
        (("catalog", "list", "chips", "--vendor", "Huawai"), "Huawei"),
        (("catalog", "show", "%%%"), "dougong catalog list chips|systems"),
        (("pln",), "plan"),
        (("plan", "x", *ON, "--tpott", "1s"), "--tpot"),
    ],
)
def test_near_names_are_offered(run: Run, words: tuple[str, ...], near: str) -> None:
    refused(run(*words), near)


@pytest.mark.parametrize("count", ["0", "-3", "99999999999"])
def test_absurd_counts_of_chips(run: Run, model: str, count: str) -> None:
    refused(run("plan", model, "--on", f"{count} x nvidia-h100-sxm"), "chips")


def test_a_contradiction_is_one_fault(run: Run, model: str) -> None:
    said = run("plan", model, *ON, "--rate", "2", "--users", "3")
    assert said.err == "error: rate (open loop) and users (closed loop) contradict each other: give one\n"


@pytest.mark.parametrize("words", [(), ("catalog",)])
def test_no_command_gets_the_help_as_words(run: Run, words: tuple[str, ...]) -> None:
    said = run(*words)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("Usage: dougong")
    assert "Commands:" in said.err


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("plan", "", *ON), "no model is named"),
        (("plan", "qwen3-8b", "--on", " , "), "error: no system is given\n"),
        (("fit", "--models", ","), "--models: nothing is named"),
        (("fit", "--systems", ""), "--systems: nothing is named"),
    ],
)
def test_nothing_is_not_everything(run: Run, words: tuple[str, ...], wanted: str) -> None:
    refused(run(*words), wanted)


@pytest.mark.parametrize(
    "words",
    [
        ("plan",),
        ("plan", "m"),
        ("plan", "m", "--on", ","),
        ("catalog", "list", "cats"),
        ("completion", "tcsh"),
        ("--nope",),
    ],
)
def test_missing_and_unknown_words(run: Run, words: tuple[str, ...]) -> None:
    refused(run(*words))


def test_records_of_two_kinds_do_not_compare(run: Run) -> None:
    refused(run("catalog", "diff", "huawei-910c", "cloudmatrix384"), "only records of one kind")


def test_faults_of_a_catalog_folder_are_told_with_their_place(run: Run, model: str, tmp_path: Path) -> None:
    folder = tmp_path / "chips" / "x"
    folder.mkdir(parents=True)
    (folder / "broken.toml").write_text("id = ")
    (folder / "odd.toml").write_text('schema = 1\nid = "other"\nvendorr = "x"\n')
    refused(run("plan", model, *ON, "--catalog", str(tmp_path)), "broken.toml", "odd.toml", "vendorr")


def test_a_hostile_model_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    for content in ("", "[1]", "{" * 9999, '{"model_type": "unheard-of"}', '{"model_type": 7}', "\0" * 10):
        path.write_text(content)
        refused(run("plan", str(path), *ON))


@given(
    words=st.lists(st.text(max_size=12), max_size=4),
    flag=st.sampled_from(["--prompt", "--tpot", "--on", "--rate"]),
)
def test_no_words_lead_to_a_bug(words: list[str], flag: str) -> None:
    assert main(["plan", "no-such-model", "--on", "hgx-h100", *(f"{flag}={word}" for word in words)]) == 2
    assert main(["catalog", "show", *words]) in (0, 2)


def test_unexpected_exceptions_ask_for_a_report(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(_: list[str]) -> int:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(dougong.cli.entry, "_invoke", stumble)
    said = run("plan")
    assert said.code == 70
    assert "Traceback" in said.err
    assert "planted" in said.err
    assert "please report" in said.err


@pytest.mark.parametrize(
    ("raised", "code"),
    [(EnvironmentLacking("no x", hint="get x"), 4), (DougongError("odd"), 70), (KeyboardInterrupt(), 130)],
)
def test_exit_codes_of_the_tree(
    run: Run, monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: int
) -> None:
    def stop(_: list[str]) -> int:
        raise raised

    monkeypatch.setattr(dougong.cli.entry, "_invoke", stop)
    said = run()
    assert said.code == code
    assert "Traceback" not in said.err
    if code == 4:
        assert said.err == "error: no x\n\nhint: get x\n"


MAIN = (sys.executable, "-c", "import sys; from dougong.cli import main; sys.exit(main())")


def shell(*words: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*MAIN, *words], capture_output=True, env={**os.environ, **environment}, check=False
    )


def run_with(out: IO[bytes], *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*MAIN, *words], stdout=out, stderr=subprocess.PIPE, check=False)


def test_a_reader_who_leaves_is_no_error() -> None:
    code = "import sys; from dougong.cli import main; sys.exit(main(['catalog', 'list', 'chips', '--json']))"
    # Without a buffer Python drops the rest of a cut write in silence; that is not what is tested here.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    words = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 141
    assert words == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full disk at hand")
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_full_disk_is_no_bug(more: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123  # a device, not a file
        done = run_with(full, "catalog", "list", "chips", *more)
    assert done.returncode == 4
    assert done.stderr == b"error: the answer cannot be written: No space left on device\n"


@pytest.mark.skipif(os.name == "nt", reason="a shell that closes streams")
def test_a_closed_output_is_no_bug() -> None:
    code = "import sys; from dougong.cli import main; sys.exit(main(['catalog', 'list', 'chips']))"
    command = f"exec {shlex.quote(sys.executable)} -c {shlex.quote(code)} >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, check=False)
    assert done.returncode == 4
    assert done.stderr == b"error: there is no standard output to write the answer to\n"


def test_a_stream_without_the_glyphs_gets_ascii() -> None:
    done = shell("catalog", "diff", "huawei-910c", "nvidia-h100-sxm", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    done.stdout.decode("ascii")
    assert b"x" in done.stdout


def test_errors_print_on_an_ascii_terminal() -> None:
    done = shell("plan", "modèle", "--on", "système", PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert b"error: " in done.stderr


def test_completion_scripts() -> None:
    for name in ("bash", "zsh", "fish"):
        done = shell("completion", name)
        assert done.returncode == 0
        assert b"_DOUGONG_COMPLETE" in done.stdout


def offered(words: str) -> set[str]:
    """What the tab key offers at the end of ``words``, as click tells it to bash: ``kind,value``."""
    at = len(shlex.split(words)) - (not words.endswith(" "))
    asked = {"_DOUGONG_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(at)}
    return set(shell(**asked).stdout.decode().split())


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("dougong pl", {"plain,plan"}),
        ("dougong catalog show cloudm", {"plain,cloudmatrix384"}),
        ("dougong plan m --on hgx-h100,cloudm", {"plain,hgx-h100,cloudmatrix384"}),
        ("dougong plan deepseek-v3.2", {"plain,deepseek-v3.2", "plain,deepseek-v3.2-nvfp4"}),
        ("dougong plan ./mod", {"file,./mod"}),
        ("dougong plan m --trace tr", {"file,tr"}),
        ("dougong plan m --catalog ca", {"dir,ca"}),
        ("dougong plan m --objective ", {f"plain,{word}" for word in OBJECTIVES}),
        ("dougong plan m --precision w4", {"plain,w4a16", "plain,w4a8"}),
        ("dougong plan m --engine vend", {"plain,vendor-tuned"}),
        ("dougong plan m --region wor", {"plain,world"}),
    ],
)
def test_the_tab_key(words: str, wanted: set[str]) -> None:
    assert offered(words) == wanted
