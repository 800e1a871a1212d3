"""transformers on any torch device: the fallback for every model and chip, and the reference for verification.

The child is our own: ``transformers serve`` 5.23 answers 200 and leaves out log-probabilities, tool choices and
JSON schemas that are asked for, and does not end its streams. What our child cannot do it refuses.
"""

from __future__ import annotations

import sys

from dougong.engines.checks import refuse
from dougong.engines.platforms import PLATFORMS, visibility
from dougong.engines.port import Capabilities, LaunchCommand, LaunchRequest, Presence
from dougong.engines.presence import look_for

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


class Transformers:
    """Adapter of our server over ``transformers``; one request at a time, every number in the open."""

    name = "transformers"
    formats = ("safetensors",)
    platforms = tuple(PLATFORMS)
    capabilities = Capabilities(tools=True, json_schema=True, logprobs=True, embeddings=True)

    def presence(self) -> Presence:
        """Say whether torch, transformers and the web packages are here."""
        return look_for(
            {
                "torch": "torch",
                "transformers": "transformers",
                "safetensors": "safetensors",
                "xgrammar": "xgrammar",
                "starlette": "starlette",
                "uvicorn": "uvicorn",
            },
            version_of="transformers",
            remedy="pip install 'dougong[transformers]', after the torch of your chip's vendor",
        )

    def command(self, request: LaunchRequest) -> LaunchCommand:
        """Return the command of the child that holds the model."""
        refuse(
            self,
            request,
            "it has no prefill and decode roles" if request.role != "both" else "",
            f"dtype {request.dtype} is none of {', '.join(DTYPES)}"
            if request.dtype is not None and request.dtype not in DTYPES
            else "",
            "it does not quantise weights; take a checkpoint that has them" if request.quantization else "",
            "it keeps its cache in the dtype of the model" if request.kv_dtype else "",
            "it does not speculate" if request.draft_tokens else "",
            devices=1,
        )
        platform = PLATFORMS[request.platform]
        words: dict[str, object] = {
            "--model": request.model.location,
            "--name": request.served_name,
            "--host": request.host,
            "--port": request.port,
            "--device": platform.torch_device,
        }
        if platform.torch_package:
            words["--package"] = platform.torch_package
        if request.dtype is not None:
            words["--dtype"] = DTYPES[request.dtype]
        if request.context_tokens is not None:
            words["--context"] = request.context_tokens
        if request.threads is not None:
            words["--threads"] = request.threads
        secret = {"DOUGONG_ENGINE_KEY": request.api_key} if request.api_key else {}
        return LaunchCommand(
            argv=(
                sys.executable,
                "-m",
                "dougong.engines.transformers_child",
                *(str(part) for pair in words.items() for part in pair),
                *request.extra,
            ),
            env={**visibility(request.platform, request.devices), **secret},
            secrets=frozenset({"DOUGONG_ENGINE_KEY"}),
            base_url=f"http://{request.host}:{request.port}",
            health_path="/health",
            api_key=request.api_key,
            notes=("transformers answers one request at a time; others wait",),
        )
