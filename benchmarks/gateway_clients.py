"""Which client to engines, and which server: the same bare relay with each, in one run with one load.

    python benchmarks/gateway_clients.py --venv VENV [--rounds N] [--json FILE]

``VENV`` has uvicorn, httptools, uvloop, aiohttp, httpx and granian. A relay reads a request, sends it on and writes the
answer back piece by piece, and does nothing else: it shows what the library itself costs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
from pathlib import Path

from gateway_overhead import free_port, show, summary
from http_load import Result, allow_files, child, load

from dougong.gateway import loop_factory
from dougong.testing.fake_engine import FakeEngine

SRC = Path(__file__).parent.parent / "src"
_COMMON = """
import json, os, sys
ENGINE = os.environ["ENGINE"]
async def body_of(receive):
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            json.loads(body)
            return body
async def start(send, kind):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
async def piece(send, data):
    await send({"type": "http.response.body", "body": data, "more_body": True})
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"].endswith("shutdown"):
                return
    if scope["method"] == "GET":
        await start(send, b"text/plain")
    else:
        await relay(scope["path"], await body_of(receive), send)
    await send({"type": "http.response.body", "body": b""})
CLIENT = None
"""
RELAYS = {
    "own": """
from dougong.gateway.upstream import Client
async def relay(path, body, send):
    global CLIENT
    CLIENT = CLIENT or Client(ENGINE)
    with await CLIENT.send(b"POST", path.encode(), body, b"content-type: application/json\\r\\n") as exchange:
        await exchange.connection.wait_head()
        await start(send, exchange.header(b"content-type"))
        while data := await exchange.read():
            await piece(send, data)
""",
    "aiohttp": """
import aiohttp
async def relay(path, body, send):
    global CLIENT
    if CLIENT is None:
        CLIENT = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout(total=None))
    async with CLIENT.post(ENGINE + path, data=body, headers={"content-type": "application/json"}) as reply:
        await start(send, reply.headers["content-type"].encode())
        async for data in reply.content.iter_any():
            await piece(send, data)
""",
    "httpx": """
import httpx
async def relay(path, body, send):
    global CLIENT
    if CLIENT is None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        CLIENT = httpx.AsyncClient(limits=limits, timeout=None)
    headers = {"content-type": "application/json"}
    async with CLIENT.stream("POST", ENGINE + path, content=body, headers=headers) as reply:
        await start(send, reply.headers["content-type"].encode())
        async for data in reply.aiter_raw():
            await piece(send, data)
""",
}
SERVERS = {
    "uvicorn": ["uvicorn", "relay:app", "--log-level", "error", "--no-access-log", "--http", "httptools"],
    "granian": ["granian", "relay:app", "--interface", "asgi", "--log-level", "error"],
}


async def main(words: argparse.Namespace) -> None:
    allow_files()
    whole: dict[str, list[Result]] = {}
    streams: dict[str, list[Result]] = {}
    with contextlib.ExitStack() as stack:
        engine = stack.enter_context(FakeEngine())
        ways = {"direct": engine.url}
        for server, command in SERVERS.items():
            for client, relay in RELAYS.items():
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                (folder / "relay.py").write_text(_COMMON + relay)
                port = free_port()
                at = ["--host", "127.0.0.1", "--port", str(port), "--loop", "uvloop"]
                env = {"ENGINE": engine.url, "PYTHONPATH": f"{folder}:{SRC}"}
                url = ways[f"{server}, {client}"] = f"http://127.0.0.1:{port}"
                stack.enter_context(
                    child([str(words.venv / "bin" / command[0]), *command[1:], *at], url, env=env)
                )
        for turn in range(words.rounds + 1):
            for way, url in ways.items():
                slow = 5 if "httpx" in way else 1
                one = await load(url, connections=32, requests=3000 // slow, tokens=8, stream=False)
                flow = await load(url, connections=32, requests=320 // slow, tokens=100, stream=True)
                if turn:
                    whole.setdefault(way, []).append(one)
                    streams.setdefault(way, []).append(flow)
    rows = {way: summary(results) for way, results in whole.items()}
    flows = {way: summary(results) for way, results in streams.items()}
    show("32 clients, in one piece", rows, ["requests_per_s", "p50_s", "p99_s", "lost"])
    show("32 clients, streams of 100 tokens", flows, ["tokens_per_s", "p50_s", "p99_s", "lost"])
    if words.json:
        words.json.write_text(json.dumps({"schema": 1, "whole": rows, "streams": flows}, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--venv", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        sys.exit(runner.run(main(parser.parse_args())))
