"""The child process of the ``llamacpp`` engine: llama.cpp's server, and a door in front that holds it to its word.

llama.cpp takes ``tool_choice: "required"`` as leave to call a tool some time, after any text
(https://github.com/ggml-org/llama.cpp/issues/27217), and a named function not at all; a small model then never
calls. The door begins the call for it, in the words of the chat template, and the grammar does the rest.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any, cast

CALL, CALL_END = "<tool_call>", "</tool_call>"
"""How templates of the Hermes kind write a call; models of the Qwen and SmolLM families learned it."""

CHATML = "<|im_start|>"
BODY_BYTES = 64 << 20
GRACE_S = 15


def read_words(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    words = argparse.ArgumentParser(prog="python -m dougong.engines.llamacpp_child", description=__doc__)
    words.add_argument("--model", required=True)
    words.add_argument("--alias", required=True)
    words.add_argument("--host", default="127.0.0.1")
    words.add_argument("--port", type=int, required=True)
    words.add_argument("--context", type=int, required=True, help="tokens of one sequence")
    words.add_argument("--sequences", type=int, default=4)
    words.add_argument("--threads", type=int)
    words.add_argument("--batch", type=int, help="tokens of one step")
    words.add_argument("--kv-type", default="f16")
    words.add_argument("--gpu-layers", type=int, default=-1, help="-1: as many as fit")
    words.add_argument(
        "--embeddings", action="store_true", help="answer with embeddings too, the mean over all tokens"
    )
    words.add_argument("--chat-template", type=Path)
    return words.parse_args(arguments)


def pick_template(own: str, given: str | None) -> str | None:
    """Return the template to use in place of the model's own; None where that will do.

    A ChatML model whose template knows no tools gets one that does; without tools both say the same.
    """
    if given is not None:
        return given
    if "tools" in own or CHATML not in own:
        return None
    return Path(__file__).with_name("chatml_tools.jinja").read_text(encoding="utf-8")


def begin_call(body: dict[str, Any]) -> dict[str, Any]:
    """Return a chat request whose demand for a tool call is put so that llama.cpp keeps it.

    ``required`` and a named function become an answer that has begun to call, and that ends with the first
    call unless the request says that it wants several.
    """
    choice = body.get("tool_choice")
    tools, messages = _listed(body.get("tools")), _listed(body.get("messages"))
    if not tools or not messages:
        return body
    several = body.get("parallel_tool_calls") is True
    if isinstance(choice, dict):
        named = cast(dict[str, Any], choice).get("function", choice)
        name = cast(dict[str, Any], named).get("name") if isinstance(named, dict) else None
        tools = [tool for tool in tools if _name(tool) == name]
        if not tools:
            raise ValueError(f"tool_choice names {name!r}, which is none of the tools")
        several = False
    elif choice != "required":
        return body
    asked: dict[str, Any] = {**body, "tools": tools, "tool_choice": "required"}
    last = messages[-1]
    if isinstance(last, dict) and cast(dict[str, Any], last).get("role") == "assistant":
        return asked  # the client has begun the answer itself
    stop = body.get("stop")
    stops = [stop] if isinstance(stop, str) else _listed(stop)
    return {
        **asked,
        "messages": [*messages, {"role": "assistant", "content": CALL}],
        "continue_final_message": True,
        "add_generation_prompt": False,
        "stop": stops if several else [*stops, CALL_END],
    }


def _listed(value: object) -> list[Any]:
    return cast(list[Any], value) if isinstance(value, list) else []


def _name(tool: object) -> object:
    function = cast(dict[str, Any], tool).get("function") if isinstance(tool, dict) else None
    return cast(dict[str, Any], function).get("name") if isinstance(function, dict) else None


def start_server(
    told: argparse.Namespace, key: str | None
) -> tuple[Any, str]:  # pragma: no cover - needs the wheel
    """Load the model; return llama.cpp's server, which listens on a port of its own, and its template."""
    from dougong.engines.models.gguf import read_gguf
    from dougong.engines.process import free_port

    own = str(read_gguf(Path(told.model)).get("tokenizer.chat_template", ""))
    given = told.chat_template.read_text(encoding="utf-8") if told.chat_template else None
    template = pick_template(own, given)
    llama: Any = importlib.import_module("xllamacpp")
    params = llama.CommonParams()
    params.model.path = told.model
    params.model_alias = {told.alias}
    params.hostnames, params.port = ["127.0.0.1"], free_port()
    params.api_keys = [key] if key else []
    # A cache for each: in one for all, every step walks past the others' entries.
    params.n_ctx, params.n_parallel, params.kv_unified = told.context * told.sequences, told.sequences, False
    params.use_jinja = True
    params.endpoint_slots = False  # it would show prompts
    params.ui = False
    params.n_gpu_layers = told.gpu_layers
    if told.threads:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = told.threads
    if told.batch:
        params.n_batch = told.batch
        params.n_ubatch = min(params.n_ubatch, told.batch)
    kind = getattr(llama.ggml_type, f"GGML_TYPE_{told.kv_type.upper()}")
    params.cache_type_k = params.cache_type_v = kind
    if template is not None:
        params.chat_template = template
    if told.embeddings:
        params.embedding = True
        params.pooling_type = llama.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    server = llama.Server(params)
    return server, template if template is not None else own


def make_door(address: str, template: str) -> Any:
    """Return the application in front of the server at ``address``: passes everything on, calls begun where asked."""
    import httpx
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response, StreamingResponse
    from starlette.routing import Route
    from starlette.types import Receive, Scope, Send

    timeout = httpx.Timeout(None, connect=10.0)
    client = httpx.AsyncClient(
        base_url=address, timeout=timeout, trust_env=False, limits=httpx.Limits(max_connections=None)
    )

    class Passed(StreamingResponse):
        """A stream that lets go of llama.cpp however it ends: a client that left must not be computed for."""

        def __init__(self, *args: Any, closes: httpx.Response, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.closes = closes

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await super().__call__(scope, receive, send)
            finally:
                await self.closes.aclose()

    def fault(message: str, status: int = 400) -> Response:
        return JSONResponse(
            {"error": {"message": message, "type": "invalid_request_error", "code": status}}, status
        )

    async def forward(request: Request) -> Response:
        content = bytearray()
        async for chunk in request.stream():
            content += chunk
            if len(content) > BODY_BYTES:
                return fault(f"the request is longer than {BODY_BYTES:,} bytes", 413)
        body = bytes(content)
        if CALL in template and request.url.path.endswith("/chat/completions"):
            try:
                told: object = json.loads(body)
                if isinstance(told, dict) and "tool_choice" in told:
                    body = json.dumps(begin_call(cast(dict[str, Any], told))).encode()
            except ValueError as error:
                if not isinstance(error, json.JSONDecodeError):
                    return fault(str(error))
        headers = {
            name: value
            for name, value in request.headers.items()
            if name in ("authorization", "content-type", "accept")
        }
        url = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        try:
            reply = await client.send(
                client.build_request(request.method, url, headers=headers, content=body), stream=True
            )
        except httpx.TransportError as error:
            return fault(f"llama.cpp does not answer: {type(error).__name__}", 502)
        kept = {
            name: value
            for name, value in reply.headers.items()
            if name in ("content-type", "content-length", "retry-after")
        }
        return Passed(reply.aiter_raw(), reply.status_code, headers=kept, closes=reply)

    return Starlette(routes=[Route("/{path:path}", forward, methods=["GET", "POST"])])


def main() -> int:  # pragma: no cover - needs the wheel
    """Load the model, open the door, serve until told to end."""
    import uvicorn

    told = read_words()
    server, template = start_server(told, os.environ.pop("DOUGONG_ENGINE_KEY", None))
    door = make_door(server.listening_address, template)
    uvicorn.run(
        door,
        host=told.host,
        port=told.port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    sys.stdout.flush()
    os._exit(0)  # llama.cpp's threads would be waited for


if __name__ == "__main__":
    raise SystemExit(main())
