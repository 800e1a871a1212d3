"""The child process of the ``transformers`` engine: OpenAI's HTTP over :class:`Decoder`, on loopback."""

from __future__ import annotations

import argparse
import asyncio
import hmac
import json
import os
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from typing import Any, cast

from dougong.engines.transformers_decode import Decoder, Piece
from dougong.engines.transformers_words import Ask, Refused, envelope, read_ask, split_calls, usage_of

BODY_BYTES = 32 << 20
GRACE_S = 10


def read_words(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    words = argparse.ArgumentParser(prog="python -m dougong.engines.transformers_child", description=__doc__)
    words.add_argument("--model", required=True, help="a folder with safetensors, config.json and tokenizer")
    words.add_argument("--name", required=True)
    words.add_argument("--host", default="127.0.0.1")
    words.add_argument("--port", type=int, required=True)
    words.add_argument("--device", default="cpu", help="as torch calls it")
    words.add_argument("--package", help="the vendor's package that brings the device")
    words.add_argument("--dtype")
    words.add_argument("--context", type=int)
    words.add_argument("--threads", type=int)
    return words.parse_args(arguments)


def answer(decoder: Decoder, model: str, ask: Ask, gone: threading.Event) -> dict[str, Any]:
    """Return a whole answer."""
    ids = decoder.encode(ask)
    choices: list[dict[str, Any]] = []
    total = 0
    for number in range(ask.choices):
        with decoder.lock:
            pieces = list(decoder.run(ask, ids, number, gone.is_set))
            prompt = decoder.prompt_logprobs(ids, ask.logprobs or 0) if ask.echo else []
        total += len(pieces)
        finish = pieces[-1].finish if pieces else "stop"
        text = "".join(piece.text for piece in (*prompt, *pieces))
        logprobs = _logprobs(decoder, [*prompt, *pieces], chat=ask.chat) if ask.logprobs is not None else None
        if not ask.chat:
            choices.append({"index": number, "text": text, "finish_reason": finish, "logprobs": logprobs})
            continue
        message = _message(ask, text)
        finish = "tool_calls" if message.get("tool_calls") else finish
        choices.append({"index": number, "message": message, "finish_reason": finish, "logprobs": logprobs})
    return {**envelope(model, ask.chat), "choices": choices, "usage": usage_of(len(ids), total)}


def chunks(decoder: Decoder, model: str, ask: Ask, gone: threading.Event) -> Iterator[dict[str, Any]]:
    """Yield the pieces of an answer; where tools may be called, the text comes once it is known to be no call."""
    ids = decoder.encode(ask)
    head = envelope(model, ask.chat, stream=True)
    whole = bool(ask.tools or ask.call)

    def shaped(
        text: str, pieces: list[Piece], finish: str | None, delta: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        logprobs = _logprobs(decoder, pieces, chat=ask.chat) if ask.logprobs is not None and pieces else None
        content: dict[str, Any] = {"text": text}
        if ask.chat:
            content = {"delta": delta if delta is not None else ({"content": text} if text or pieces else {})}
        return {**head, "choices": [{"index": 0, **content, "finish_reason": finish, "logprobs": logprobs}]}

    if ask.chat:
        yield shaped("", [], None, {"role": "assistant", "content": ""})
    count, held = 0, list[Piece]()
    with decoder.lock:
        for piece in decoder.run(ask, ids, 0, gone.is_set):
            count += 1
            held.append(piece)
            if not whole:
                yield shaped(piece.text, [piece], None)
    finish = held[-1].finish if held else "stop"
    if whole:
        message = _message(ask, "".join(piece.text for piece in held))
        calls = message.get("tool_calls")
        delta = (
            {"tool_calls": [{"index": place, **call} for place, call in enumerate(calls)]}
            if calls
            else {"content": message["content"]}
        )
        yield shaped("", held, None, delta)
        finish = "tool_calls" if calls else finish
    yield shaped("", [], finish)
    if ask.usage:
        yield {**head, "choices": [], "usage": usage_of(len(ids), count)}


def _message(ask: Ask, text: str) -> dict[str, Any]:
    if ask.call:  # the grammar left nothing but one call
        text = f"<tool_call>{text}</tool_call>"
    content, calls = split_calls(text) if ask.tools or ask.call else (text, [])
    message: dict[str, Any] = {"role": "assistant", "content": content if content or not calls else None}
    return {**message, "tool_calls": calls} if calls else message


def _logprobs(decoder: Decoder, pieces: list[Piece], *, chat: bool) -> dict[str, Any]:
    told = [(decoder.token_text(piece.token), piece) for piece in pieces]
    if not chat:
        return {
            "tokens": [text for text, _ in told],
            "token_logprobs": [piece.logprob for _, piece in told],
            "top_logprobs": [
                {decoder.token_text(token): value for token, value in piece.top} or None for _, piece in told
            ],
        }

    def one(text: str, logprob: float | None) -> dict[str, Any]:
        return {"token": text, "logprob": logprob, "bytes": list(text.encode())}

    return {
        "content": [
            {
                **one(text, piece.logprob),
                "top_logprobs": [one(decoder.token_text(token), value) for token, value in piece.top],
            }
            for text, piece in told
        ]
    }


def make_app(decoder: Decoder, model: str, key: str | None) -> Any:
    """Return the application."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response, StreamingResponse
    from starlette.routing import Route

    def fault(status: int, message: str) -> Response:
        kind = "invalid_request_error" if status < 500 else "server_error"
        return JSONResponse(
            {"error": {"message": message, "type": kind, "code": status, "param": None}}, status
        )

    async def body_of(request: Request) -> object:
        content = bytearray()
        async for chunk in request.stream():
            content += chunk
            if len(content) > BODY_BYTES:
                raise Refused(413, f"the request is longer than {BODY_BYTES:,} bytes")
        try:
            return json.loads(content)
        except ValueError:
            raise Refused(400, "the body is no JSON") from None

    async def complete(request: Request) -> Response:
        ask = read_ask(await body_of(request), model, chat=request.url.path.endswith("/chat/completions"))
        gone = threading.Event()
        if ask.stream:
            decoder.encode(ask)  # what is refused is refused with a status, not within a stream
            return StreamingResponse(events(ask, gone), media_type="text/event-stream")
        work = asyncio.create_task(asyncio.to_thread(answer, decoder, model, ask, gone))
        while not work.done():
            await asyncio.wait([work], timeout=0.25)
            if not work.done() and await request.is_disconnected():
                gone.set()
        return JSONResponse(work.result())

    async def events(ask: Ask, gone: threading.Event) -> AsyncGenerator[bytes]:
        walk = chunks(decoder, model, ask, gone)
        last: dict[str, Any] = {}
        try:
            while (chunk := await asyncio.to_thread(next, walk, last)) is not last:
                yield b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"
            yield b"data: [DONE]\n\n"
        except Refused as refused:
            error = {
                "error": {"message": refused.message, "type": "invalid_request_error", "code": refused.status}
            }
            yield b"data: " + json.dumps(error).encode() + b"\n\n"
        finally:
            gone.set()

    async def embeddings(request: Request) -> Response:
        told = await body_of(request)
        words = cast(dict[str, Any], told) if isinstance(told, dict) else {}
        texts = words.get("input")
        listed = (
            [texts]
            if isinstance(texts, str)
            else cast(list[object], texts)
            if isinstance(texts, list)
            else []
        )
        if not listed or not all(isinstance(text, str) for text in listed):
            raise Refused(400, "input must be a text, or a list of texts")

        def work() -> list[tuple[list[float], int]]:
            with decoder.lock:
                return [decoder.embed(cast(str, text)) for text in listed]

        found = await asyncio.to_thread(work)
        data = [
            {"object": "embedding", "index": place, "embedding": vector}
            for place, (vector, _) in enumerate(found)
        ]
        count = sum(tokens for _, tokens in found)
        return JSONResponse({"object": "list", "model": model, "data": data, "usage": usage_of(count, 0)})

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def models(_: Request) -> Response:
        entry = {
            "id": model,
            "object": "model",
            "created": 0,
            "owned_by": "transformers",
            "max_model_len": decoder.context,
        }
        return JSONResponse({"object": "list", "data": [entry]})

    async def refused(_: Request, error: Exception) -> Response:
        told = error if isinstance(error, Refused) else Refused(500, f"{type(error).__name__}")
        return fault(told.status, told.message)

    routes = [
        Route("/health", health),
        Route("/v1/models", models),
        Route("/v1/chat/completions", complete, methods=["POST"]),
        Route("/v1/completions", complete, methods=["POST"]),
        Route("/v1/embeddings", embeddings, methods=["POST"]),
    ]
    app = Starlette(routes=routes, exception_handlers={Refused: refused, Exception: refused})
    return _guarded(app, key) if key else app


def _guarded(app: Any, key: str) -> Any:
    wanted = f"Bearer {key}".encode()

    async def door(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", ()))
        if (
            scope["type"] == "http"
            and scope["path"] != "/health"
            and not hmac.compare_digest(headers.get(b"authorization", b""), wanted)
        ):
            body = json.dumps(
                {"error": {"message": "wrong key", "type": "authentication_error", "code": 401}}
            ).encode()
            await send(
                {
                    "type": "http.response.start",
                    "status": 401,
                    "headers": [(b"content-type", b"application/json")],
                }
            )
            await send({"type": "http.response.body", "body": body})
            return
        await app(scope, receive, send)

    return door


def main() -> int:
    """Load the model and serve until told to end."""
    import uvicorn

    told, key = read_words(), os.environ.pop("DOUGONG_ENGINE_KEY", None)
    decoder = Decoder(
        told.model,
        told.device,
        package=told.package,
        dtype=told.dtype,
        context=told.context,
        threads=told.threads,
    )
    uvicorn.run(
        make_app(decoder, told.name, key),
        host=told.host,
        port=told.port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
