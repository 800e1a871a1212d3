"""One launch of an engine: its guard, its output, its health, its end."""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import urllib.parse
from pathlib import Path
from typing import Any, cast

from dougong.engines.log import EngineLog
from dougong.engines.port import LaunchCommand
from dougong.errors import EngineError, EnvironmentLacking

GUARD = Path(__file__).with_name("guard.py")
_ENGINE_PORTS = range(10_240, 20_000)  # below those of outgoing connections: from 32,768 on, or 49,152
_MOST_BYTES = 1 << 20  # of a health page or a list of models
GUARD_EXTRA_S = 10.0  # beyond the engine's own grace, for the guard to finish


class EngineProcess:
    """A running engine under a guard that ends it when this process does, whatever ends this process."""

    def __init__(self, command: LaunchCommand, log: EngineLog, *, grace_s: float = 20.0) -> None:
        if os.name != "posix":
            raise EnvironmentLacking(
                f"engines are launched on Linux and macOS, not on {sys.platform}",
                hint="start the engine by hand, and then: dougong serve --replica URL",
            )
        self.command, self.log, self.grace_s = command, log, grace_s
        environment = {**os.environ, **command.env}
        try:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARD), str(grace_s), *command.argv],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C is for us: we drain, then the engine is told
            )
        except OSError as error:
            raise EngineError(f"the engine cannot be started: {error.strerror}: {command.argv[0]}") from error
        self._reader = threading.Thread(target=self._read, name="engine-log", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process id of the guard; the engine is its child and shares its process group."""
        return self._guard.pid

    def exit_code(self) -> int | None:
        """Return the engine's exit code, 128 + signal for a killed one, None while it runs."""
        code = self._guard.poll()
        return 128 - code if code is not None and code < 0 else code

    def stop(self) -> int:
        """Ask the engine to end, wait for its grace, and end it; return the exit code."""
        if self._guard.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._guard.send_signal(signal.SIGTERM)
        return self._wait(self.grace_s + GUARD_EXTRA_S)

    def kill(self) -> int:
        """End the engine at once: it hangs, and would not listen."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._guard.pid, signal.SIGKILL)
        return self._wait(GUARD_EXTRA_S)

    def _wait(self, seconds: float) -> int:
        try:
            self._guard.wait(seconds)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._guard.pid, signal.SIGKILL)
            self._guard.wait()
        if self._guard.returncode < 0:  # the guard itself was killed: what is left of its group goes too
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._guard.pid, signal.SIGKILL)
        assert self._guard.stdin is not None
        with contextlib.suppress(OSError):
            self._guard.stdin.close()
        self._reader.join(timeout=5)
        return self.exit_code() or 0

    def _read(self) -> None:
        assert self._guard.stdout is not None
        with self._guard.stdout as pipe:
            while line := pipe.readline(1 << 16):
                self.log.add(line)


def is_healthy(command: LaunchCommand, timeout_s: float) -> bool:
    """Ask the engine's health path; anything but a 2xx within ``timeout_s`` is a no."""
    return _get(command.base_url, command.health_path, command.api_key, timeout_s) is not None


def models_of(base_url: str, api_key: str | None, timeout_s: float = 5.0) -> tuple[str, ...] | None:
    """Return the ids that an endpoint lists; None where it does not answer within ``timeout_s``."""
    body = _get(base_url.rstrip("/").removesuffix("/v1"), "/v1/models", api_key, timeout_s)
    try:
        told: object = json.loads(body) if body is not None else None
    except ValueError:
        return None
    data = cast(dict[str, Any], told).get("data") if isinstance(told, dict) else None
    if not isinstance(data, list):
        return None
    entries = [cast(dict[str, Any], entry) for entry in cast(list[object], data) if isinstance(entry, dict)]
    return tuple(str(entry["id"]) for entry in entries if "id" in entry)


def _get(base_url: str, path: str, api_key: str | None, timeout_s: float) -> bytes | None:
    parts = urllib.parse.urlsplit(base_url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    connection = kind(parts.hostname or "127.0.0.1", parts.port, timeout=timeout_s)
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}{path}", headers=headers)
        reply = connection.getresponse()
        body = reply.read(_MOST_BYTES)
        return body if 200 <= reply.status < 300 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port of ``host`` on which nobody listens, and that no outgoing connection will be given meanwhile.

    Raises
    ------
    OSError
        The host is none of this machine, or has no free port.
    """
    for _ in range(100):
        try:
            return _bound(host, secrets.choice(_ENGINE_PORTS))
        except OSError as fault:
            if fault.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
    return _bound(host, 0)


def _bound(host: str, port: int) -> int:
    """Return the port that a socket gets who asks for ``port``; 0 is any."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, port))
        return int(probe.getsockname()[1])


def check_port(host: str, port: int) -> None:
    """Raise where ``port`` cannot be listened on, with the reason and another port that can.

    Raises
    ------
    EnvironmentLacking
        Somebody listens there, or the address is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            # As servers do: an address that is only waiting out its last connection is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        try:
            remedy = f"free it, or take another one: --port {free_port(host)}"
        except OSError:
            remedy = "give an address of this machine: --host 127.0.0.1"
        raise EnvironmentLacking(f"{host}:{port} cannot be served on: {reason}", hint=remedy) from error
