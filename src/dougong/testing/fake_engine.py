"""A fast, scriptable engine that speaks OpenAI's HTTP on loopback, as a child process: ``FakeEngine()``.

It computes nothing: it streams numbered words at the pace it is told and breaks in the way it is told.
By hand: ``python -m dougong.testing.fake_engine --port 8081``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import urllib.request
from dataclasses import fields
from typing import Any, Self

from dougong.testing.fake_answers import Script
from dougong.testing.fake_server import serve


class FakeEngine:
    """A fake engine in a child process, as a context manager.

    Parameters
    ----------
    key
        The key it wants as ``Authorization: Bearer``; none by default.
    port
        A free one by default.
    script
        Fields of :class:`~dougong.testing.fake_answers.Script`.

    Examples
    --------
    >>> with FakeEngine(tokens=3) as engine:
    ...     engine.stats()["requests"]
    0
    """

    def __init__(self, *, key: str | None = None, port: int = 0, **script: Any) -> None:
        command = [sys.executable, "-m", "dougong.testing.fake_engine", "--port", str(port)]
        command += ["--script", json.dumps(script)] + (["--key", key] if key else [])
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the fake engine left with {self.process.wait()}")
        self.url: str = json.loads(line)["url"]
        self.pid = self.process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process and wait for it."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def stats(self) -> dict[str, Any]:
        """Counts so far, and the last request as it arrived."""
        return self._ask("/fake/stats", None)

    def script(self, **words: Any) -> dict[str, Any]:
        """Change fields of its script from now on."""
        return self._ask("/fake/script", json.dumps(words).encode())

    def _ask(self, path: str, body: bytes | None) -> dict[str, Any]:
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data=body), timeout=10) as reply:
            return json.load(reply)


def main() -> None:
    """Run until the parent closes the standard input, or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m dougong.testing.fake_engine", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one, which is printed")
    parser.add_argument("--key", help="the key it wants as a bearer token")
    names = ", ".join(field.name for field in fields(Script))
    parser.add_argument("--script", default="{}", type=json.loads, help=f"JSON object of: {names}")
    words = parser.parse_args()
    with contextlib.suppress(ImportError):
        import uvloop  # pyright: ignore[reportMissingImports]

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(Script().changed(words.script), words.host, words.port, words.key))
        return
    asyncio.run(serve(Script().changed(words.script), words.host, words.port, words.key))


if __name__ == "__main__":
    main()
