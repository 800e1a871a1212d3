"""Arguments held to the engines' own parsers and checks, where an engine is installed; elsewhere the recorded
flags stand in.

Neither needs its chip: SGLang's wheel and vLLM's with ``VLLM_TARGET_DEVICE=cpu`` parse and check on any machine.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dougong.engines.checks import nodes_of
from dougong.engines.port import LaunchRequest, NodePlace
from dougong.engines.process import free_port
from dougong.engines.sglang import Sglang
from dougong.engines.vllm import Vllm
from dougong.testing.fake_engine import FakeEngine
from engines.deployments import DEPLOYMENTS, request_of, write_model

pytestmark = [
    pytest.mark.skipif(
        not os.environ.get("DOUGONG_LIVE"), reason="imports an engine, which takes long; set DOUGONG_LIVE=1"
    ),
    pytest.mark.filterwarnings("ignore"),
]


def imported(*names: str) -> Any:
    """Import the first of ``names`` that is here."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    pytest.skip(f"not here: {names[0].partition('.')[0]}")


def each_node(request: LaunchRequest) -> list[LaunchRequest]:
    """The request as its first and its last node get it."""
    nodes = nodes_of(request)
    if nodes == 1:
        return [request]
    return [
        replace(request, node=NodePlace(rank=rank, nodes=nodes, head="10.0.0.1", port=20_000))
        for rank in (0, nodes - 1)
    ]


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_sglangs_own_parser_and_checks_take_them(name: str, tmp_path: Path) -> None:
    server = imported("sglang.srt.server_args")
    checks = imported("sglang.srt.arg_groups.validation_hook")
    parser = argparse.ArgumentParser()
    server.ServerArgs.add_cli_args(parser)
    for request in each_node(request_of(name, location=write_model(tmp_path))):
        told = parser.parse_args(list(Sglang().command(request).argv[3:]))
        cut = request.parallel
        assert (told.tp_size, told.pp_size, told.attn_dp_size, told.attn_cp_size, told.ep_size) == (
            cut.width,
            cut.pp,
            cut.attn_dp,
            cut.cp,
            cut.ep,
        )
        assert told.disaggregation_mode == ("null" if request.role == "both" else request.role)
        arguments = server.ServerArgs.from_cli_args(told)
        arguments.resolve_once()
        checks.check_server_args(arguments)
        if request.chunk_tokens and request.role != "decode":
            # SGLang divides a replica's chunk among its attention groups.
            view = imported("sglang.srt.arg_groups.overrides").resolved_view(arguments)
            chunk = view.chunked_prefill_size * cut.attn_dp
            assert request.chunk_tokens <= chunk < request.chunk_tokens + 128 * cut.attn_dp


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_vllms_own_parser_and_configuration_take_them(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_USE_V2_MODEL_RUNNER", "1")  # what it takes on a chip by itself
    words = imported("vllm.entrypoints.common.cli_args", "vllm.entrypoints.openai.cli_args")
    flexible = imported("vllm.utils.argparse_utils", "vllm.utils").FlexibleArgumentParser
    parser = words.make_arg_parser(flexible())
    location = write_model(tmp_path)
    for request in each_node(request_of(name, location=location)):
        command = Vllm().command(request)
        start = command.argv.index("--served-model-name")
        told = parser.parse_args(["--model", location, "--skip-tokenizer-init", *command.argv[start:]])
        words.validate_parsed_serve_args(told)
        arguments = imported("vllm.engine.arg_utils").AsyncEngineArgs.from_cli_args(told)
        config = arguments.create_engine_config(headless=told.headless)
        parallel, cut, nodes = config.parallel_config, request.parallel, nodes_of(request)
        assert (parallel.tensor_parallel_size, parallel.pipeline_parallel_size) == (cut.tp, cut.pp)
        assert (parallel.data_parallel_size, parallel.prefill_context_parallel_size) == (cut.attn_dp, cut.cp)
        assert parallel.enable_expert_parallel == (cut.ep > 1)
        assert parallel.data_parallel_size_local == max(cut.attn_dp // nodes, 1)
        if request.context_tokens:
            assert config.model_config.max_model_len == request.context_tokens
        if request.max_sequences:
            assert config.scheduler_config.max_num_seqs * cut.attn_dp >= request.max_sequences
        if request.draft_tokens:
            assert config.speculative_config.method == "mtp"
        if request.role != "both":
            assert config.kv_transfer_config.kv_connector == "NixlConnector"


@pytest.mark.parametrize(
    ("module", "flag"), [("vllm_router", "vllm_pd_disaggregation"), ("sglang_router", "pd_disaggregation")]
)
def test_the_routers_own_parser_takes_its_words(module: str, flag: str) -> None:
    launcher = imported(f"{module}.launch_router")
    engine: Any = Vllm() if module == "vllm_router" else Sglang()
    request = replace(request_of("prefill"), devices=(4, 5))
    prefill = [("http://10.0.0.1:8001", request_of("prefill")), ("http://10.0.0.1:8005", request)]
    made = engine.router(prefill, ["http://10.0.0.3:8001"], port=8000, key="dg-k")
    words = made.argv
    start = next(place for place, word in enumerate(words) if word.startswith("--"))
    told = launcher.parse_router_args(list(words[start:]))
    assert getattr(told, flag) is True
    assert [url for url, _ in told.prefill_urls] == ["http://10.0.0.1:8001", "http://10.0.0.1:8005"]
    assert told.decode_urls == ["http://10.0.0.3:8001"]
    assert (told.host, told.port) == ("127.0.0.1", 8000)
    assert "dg-k" in (told.api_key, made.env.get("OPENAI_API_KEY"))
    if module == "sglang_router":
        assert [port for _, port in told.prefill_urls] == [8998, 9002]


@pytest.mark.parametrize("module", ["vllm_router", "sglang_router"])
def test_a_router_carries_a_chat_to_both_pools(module: str, tmp_path: Path) -> None:
    imported(f"{module}.launch_router")
    engine: Any = Vllm() if module == "vllm_router" else Sglang()
    port = free_port()
    with FakeEngine(key="dg-k") as prefill, FakeEngine(key="dg-k") as decode:
        made = engine.router([(prefill.url, request_of("prefill"))], [decode.url], port=port, key="dg-k")
        flags = made.argv[next(place for place, word in enumerate(made.argv) if word.startswith("--")) :]
        command = [
            sys.executable,
            "-m",
            f"{module}.launch_router",
            *flags,
            "--prometheus-port",
            str(free_port()),
        ]
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(command, env={**os.environ, **made.env}, stdout=log, stderr=log)
        try:
            body = {"model": "fake", "messages": [{"role": "user", "content": "x"}], "max_tokens": 3}
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/v1/chat/completions",
                json.dumps(body).encode(),
                {"Content-Type": "application/json", "Authorization": "Bearer dg-k"},
            )
            until_s, reply = time.monotonic() + 60, None
            while reply is None and time.monotonic() < until_s:
                with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=20) as answer:
                    reply = json.load(answer)
                time.sleep(0.5)
            assert reply is not None, (tmp_path / "log").read_text()[-2000:]
            assert reply["usage"]["completion_tokens"] == 3
            assert prefill.stats()["requests"] == decode.stats()["requests"] == 1
        finally:
            process.terminate()
            process.wait(20)
