"""llama.cpp through ``xllamacpp``: GGUF models on this machine, the embedded default."""

from __future__ import annotations

import sys

from dougong.engines.checks import refuse
from dougong.engines.devices.host import worker_threads
from dougong.engines.port import Capabilities, LaunchCommand, LaunchRequest, Presence
from dougong.engines.presence import look_for

CONTEXT_TOKENS = 4096
"""Of one sequence, where none is asked for, or the model's own where that is less: more would take memory unasked."""

SEQUENCES = 4

KV_TYPES = {"bf16": "bf16", "fp16": "f16", "fp32": "f32", "q8_0": "q8_0", "int8": "q8_0"}
"""The catalog's word for a cache dtype -> llama.cpp's."""


class LlamaCpp:
    """Adapter of llama.cpp's own HTTP server, which ``xllamacpp`` brings as a prebuilt wheel."""

    name = "llamacpp"
    formats = ("gguf",)
    platforms = ("cpu", "metal", "cuda", "rocm")
    capabilities = Capabilities(tools=True, json_schema=True, logprobs=True, embeddings=True)

    def presence(self) -> Presence:
        """Say whether xllamacpp and the web packages are here."""
        return look_for(
            {"xllamacpp": "xllamacpp", "starlette": "starlette", "uvicorn": "uvicorn", "httpx": "httpx"},
            version_of="xllamacpp",
            remedy="pip install 'dougong[local]'",
        )

    def command(self, request: LaunchRequest) -> LaunchCommand:
        """Return the command of the child that holds the model."""
        refuse(
            self,
            request,
            "it has no prefill and decode roles" if request.role != "both" else "",
            f"a cache of {request.kv_dtype} is none of {', '.join(KV_TYPES)}"
            if request.kv_dtype is not None and request.kv_dtype not in KV_TYPES
            else "",
            "a GGUF file is quantised already; take another file" if request.quantization is not None else "",
            "draft tokens need a draft model, which is not asked for here" if request.draft_tokens else "",
            devices=1,
        )
        trained = request.model.config.get("context")
        context = request.context_tokens or min(
            CONTEXT_TOKENS, trained if isinstance(trained, int) else CONTEXT_TOKENS
        )
        words: dict[str, object] = {
            "--model": request.model.location,
            "--alias": request.served_name,
            "--host": request.host,
            "--port": request.port,
            "--context": context,
            "--sequences": request.max_sequences or SEQUENCES,
        }
        if request.threads is not None or request.platform == "cpu":
            words["--threads"] = request.threads or worker_threads()
        if request.chunk_tokens is not None:
            words["--batch"] = request.chunk_tokens
        if request.kv_dtype is not None:
            words["--kv-type"] = KV_TYPES[request.kv_dtype]
        if request.platform == "cpu":
            words["--gpu-layers"] = 0
        flags = ["--embeddings"] if request.embeddings else []
        notes: list[str] = []
        if request.context_tokens is None and isinstance(trained, int) and trained > context:
            notes.append(f"context {context:,} of the model's {trained:,} tokens; more with --context")
        if request.platform in ("cuda", "rocm"):
            notes.append(
                f"the wheel of PyPI computes on the CPU; xllamacpp has one for {request.platform} of its own"
            )
        return LaunchCommand(
            argv=(
                sys.executable,
                "-m",
                "dougong.engines.llamacpp_child",
                *(str(part) for pair in words.items() for part in pair),
                *flags,
                *request.extra,
            ),
            env={"DOUGONG_ENGINE_KEY": request.api_key} if request.api_key else {},
            secrets=frozenset({"DOUGONG_ENGINE_KEY"}),
            base_url=f"http://{request.host}:{request.port}",
            health_path="/health",
            api_key=request.api_key,
            notes=tuple(notes),
        )
