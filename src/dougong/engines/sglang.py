"""SGLang: arguments of ``sglang.launch_server``.

The flags are those of SGLang 0.5.23; a test holds them to a table read from that release, and another to its own
parser and checks where it is installed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dougong.engines.checks import refuse, spans_nodes
from dougong.engines.platforms import PLATFORMS, address, visibility
from dougong.engines.port import Capabilities, LaunchCommand, LaunchRequest, Presence, Router
from dougong.engines.presence import look_for

KV_DTYPES = {"bf16": "bf16", "fp8_e4m3": "fp8_e4m3", "fp8": "fp8_e4m3", "mxfp8": "mxfp8", "nvfp4": "nvfp4"}
"""The catalog's word for a cache dtype -> SGLang's (arg_groups/fields/memory.py, 0.5.23)."""

QUANTIZATIONS = {
    "fp8": "fp8",
    "mxfp8": "mxfp8",
    "int8": "w8a8_int8",
    "w8a8": "w8a8_int8",
    "nvfp4": "nvfp4_online",
}

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}

BOOTSTRAP_PORT = 8998

_PAGE_TOKENS = 128
"""A step's prompt tokens must be whole pages of every attention group; no page of 0.5.23 is longer."""

_INTERLEAVED = ("deepseek_v32", "DeepseekV32ForCausalLM")
"""Models whose prompts are dealt to the context-parallel ranks token by token; others go by two blocks each."""


class Sglang:
    """Adapter of SGLang on the platforms that its own tree knows."""

    name = "sglang"
    formats = ("safetensors",)
    platforms = ("cuda", "rocm", "ascend", "mthreads", "xpu", "gaudi", "cpu")
    capabilities = Capabilities(tools=True, json_schema=True, logprobs=True, embeddings=True)

    def presence(self) -> Presence:
        """Say whether SGLang is here."""
        return look_for(
            {"sglang": "sglang"},
            version_of="sglang",
            remedy="pip install sglang (https://docs.sglang.ai), or the image of the chip's vendor",
        )

    def command(self, request: LaunchRequest) -> LaunchCommand:
        """Return ``python -m sglang.launch_server`` with the arguments of the request."""
        cut = request.parallel
        refuse(
            self,
            request,
            f"{cut.width} devices of a stage are no multiple of {cut.ep} expert groups"
            if cut.width % cut.ep
            else "",
            f"a cache of {request.kv_dtype} is none of {', '.join(KV_DTYPES)}"
            if request.kv_dtype is not None and request.kv_dtype not in KV_DTYPES
            else "",
            f"quantising to {request.quantization} is none of {', '.join(QUANTIZATIONS)}"
            if request.quantization is not None and request.quantization not in QUANTIZATIONS
            else "",
            f"dtype {request.dtype} is none of {', '.join(DTYPES)}"
            if request.dtype is not None and request.dtype not in DTYPES
            else "",
            *_faults(request),
        )
        flags = _flags(request)
        words = [
            word
            for name, value in flags.items()
            for word in ([name] if value is None else [name, str(value)])
        ]
        # SGLang reads its key from the command line only.
        key = ["--api-key", request.api_key] if request.api_key else []
        notes = ["tool_choice wants the model's parser: --engine-args '--tool-call-parser NAME'"]
        notes += spans_nodes(request, "--nnodes {nodes} --node-rank RANK --dist-init-addr HOST:PORT")
        return LaunchCommand(
            argv=(sys.executable, "-m", "sglang.launch_server", *words, *key, *request.extra),
            env={
                **visibility(request.platform, request.devices),
                **address(request.platform, request.host),
            },
            secrets=frozenset({request.api_key} if request.api_key else ()),
            base_url=f"http://{request.host}:{request.port}",
            health_path="/health",
            api_key=request.api_key,
            notes=tuple(
                note for note in notes if "--tool-call-parser" not in request.extra or "parser" not in note
            ),
        )

    def router(
        self, prefill: Sequence[tuple[str, LaunchRequest]], decode: Sequence[str], *, port: int, key: str
    ) -> Router:
        """Return SGLang's router, 0.3.2."""
        words = [word for url, one in prefill for word in ("--prefill", url, str(_bootstrap_port(one)))]
        words += [word for url in decode for word in ("--decode", url)]
        here = ("--host", "127.0.0.1", "--port", str(port), "--api-key", key)
        argv = ("python3", "-m", "sglang_router.launch_router", "--pd-disaggregation", *words, *here)
        return Router(argv=argv, notes=("pip install sglang-router",))


def _bootstrap_port(request: LaunchRequest) -> int:
    """Return where a prefill replica is met; those of a node keep apart by their first device."""
    if request.transfer_port is not None:
        return request.transfer_port
    return BOOTSTRAP_PORT + (request.devices[0] if request.devices else 0)


def _faults(request: LaunchRequest) -> list[str]:
    """Return what SGLang's own checks refuse (arg_groups/validation_hook.py and disaggregation/common, 0.5.23)."""
    cut, faults = request.parallel, list[str]()
    if ":" in request.served_name:
        faults.append(f"the name {request.served_name!r} has a colon, which stands before an adapter")
    if request.draft_tokens and cut.pp > 1 and request.role != "prefill":
        faults.append(f"it drafts over pipeline stages in a prefill replica alone, and PP is {cut.pp}")
    if request.role == "decode" and request.peer is not None and cut.pp not in (1, request.peer.pp):
        faults.append(f"PP of decode is {cut.pp}, and must be 1 or that of prefill, {request.peer.pp}")
    if cut.cp > 1 and request.platform == "mthreads":
        faults.append(f"it cuts no context on Moore Threads, and CP is {cut.cp}")
    return faults


def _flags(request: LaunchRequest) -> dict[str, object]:
    """Return flags with their values; None is a flag without one."""
    cut = request.parallel
    flags: dict[str, object] = {
        "--model-path": request.model.location,
        "--served-model-name": request.served_name,
        "--host": request.host,
        "--port": request.port,
        "--device": PLATFORMS[request.platform].torch_device,
    }
    # Attention groups lie inside SGLang's tensor-parallel group, which is one whole pipeline stage.
    degrees = {
        "--tp-size": cut.width,
        "--pp-size": cut.pp,
        "--attn-dp-size": cut.attn_dp,
        "--attn-cp-size": cut.cp,
        "--ep-size": cut.ep,
    }
    flags |= {name: degree for name, degree in degrees.items() if degree > 1}
    if cut.cp > 1:
        flags["--enable-prefill-cp"] = None
        dealt = {request.model.config.get("model_type"), request.model.config.get("architecture")}
        flags["--cp-strategy"] = "interleave" if dealt & set(_INTERLEAVED) else "zigzag"
    if request.context_tokens is not None:
        flags["--context-length"] = request.context_tokens
    if request.max_sequences is not None:
        flags["--max-running-requests"] = request.max_sequences
    if request.chunk_tokens is not None:
        pages = _PAGE_TOKENS * cut.attn_dp
        flags["--chunked-prefill-size"] = -(-request.chunk_tokens // pages) * pages
    if request.memory_frac is not None:
        flags["--mem-fraction-static"] = f"{request.memory_frac:g}"
    if request.dtype is not None:
        flags["--dtype"] = DTYPES[request.dtype]
    if request.quantization is not None:
        flags["--quantization"] = QUANTIZATIONS[request.quantization]
    if request.kv_dtype is not None:
        flags["--kv-cache-dtype"] = KV_DTYPES[request.kv_dtype]
    if request.draft_tokens:
        # The chain of a model's own next-token heads: one candidate per step, and the token that is sure.
        flags |= {
            "--speculative-algorithm": "NEXTN",
            "--speculative-num-steps": request.draft_tokens,
            "--speculative-eagle-topk": 1,
            "--speculative-num-draft-tokens": request.draft_tokens + 1,
        }
    if request.role != "both":
        flags["--disaggregation-mode"] = request.role
        if request.platform == "ascend":
            flags["--disaggregation-transfer-backend"] = "ascend"
        if request.role == "prefill":
            flags["--disaggregation-bootstrap-port"] = _bootstrap_port(request)
    if request.embeddings:
        flags["--is-embedding"] = None
    if (node := request.node) is not None:
        flags |= {"--nnodes": node.nodes, "--node-rank": node.rank}
        flags["--dist-init-addr"] = f"{node.head}:{node.port}"
    return flags
