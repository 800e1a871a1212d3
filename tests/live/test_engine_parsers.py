"""Arguments held to the engines' own parsers, where an engine is installed; elsewhere the recorded flags stand in."""

from __future__ import annotations

import argparse
import importlib
import os
from typing import Any

import pytest

from dougong.engines.port import LaunchRequest, Model, Parallel
from dougong.engines.sglang import Sglang
from dougong.engines.vllm import Vllm

pytestmark = pytest.mark.skipif(
    not os.environ.get("DOUGONG_LIVE"), reason="imports an engine, which takes long; set DOUGONG_LIVE=1"
)


def large(role: str) -> LaunchRequest:
    """A request that says everything that can be said."""
    return LaunchRequest(
        model=Model(location="deepseek-ai/DeepSeek-R1", format="safetensors", name="r1"),
        served_name="r1",
        port=8001,
        platform="cuda",
        parallel=Parallel(tp=2, pp=2, cp=2, attn_dp=8, ep=32),
        context_tokens=8192,
        max_sequences=100,
        chunk_tokens=4096,
        draft_tokens=2,
        memory_frac=0.9,
        dtype="bf16",
        quantization="fp8",
        kv_dtype="fp8_e4m3",
        role=role,
        transfer_port=20001,
        api_key="dg-k",
    )


def imported(*names: str) -> Any:
    """Import the first of ``names`` that is here."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    pytest.skip(f"not here: {names[0].partition('.')[0]}")


@pytest.mark.parametrize("role", ["both", "prefill", "decode"])
@pytest.mark.filterwarnings("ignore")
def test_sglangs_own_parser_takes_them(role: str) -> None:
    server = imported("sglang.srt.server_args")
    parser = argparse.ArgumentParser()
    server.ServerArgs.add_cli_args(parser)
    command = Sglang().command(large(role))
    told = parser.parse_args(list(command.argv[3:]))
    assert (told.tp_size, told.pp_size, told.attn_dp_size, told.attn_cp_size, told.ep_size) == (
        32,
        2,
        8,
        2,
        32,
    )
    assert (told.context_length, told.max_running_requests, told.chunked_prefill_size) == (8192, 100, 4096)
    assert told.kv_cache_dtype == "fp8_e4m3"
    assert told.disaggregation_mode == ("null" if role == "both" else role)


@pytest.mark.parametrize("role", ["both", "prefill", "decode"])
@pytest.mark.filterwarnings("ignore")
def test_vllms_own_parser_takes_them(role: str) -> None:
    words = imported("vllm.entrypoints.common.cli_args", "vllm.entrypoints.openai.cli_args")
    flexible = imported("vllm.utils.argparse_utils", "vllm.utils").FlexibleArgumentParser
    parser = words.make_arg_parser(flexible())
    command = Vllm().command(large(role))
    start = command.argv.index("--served-model-name")
    told = parser.parse_args(list(command.argv[start:]))
    assert (told.tensor_parallel_size, told.data_parallel_size, told.enable_expert_parallel) == (2, 8, True)
    assert (told.max_model_len, told.max_num_seqs, told.max_num_batched_tokens) == (8192, 13, 512)
