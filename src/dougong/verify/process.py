"""The suite's end of a stack in another process: a watchdog over its time, its memory and its words."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

import dougong
from dougong.backends import Answer, Call
from dougong.backends.registry import Recipe
from dougong.backends.wire import BadFrame, receive, send
from dougong.errors import EnvironmentLacking
from dougong.verify.judge import Outcome
from dougong.verify.verdict import Verdict

STARTUP_S = 180.0
_LOOK_S = 0.05
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class _Gone(Exception):
    """The process died, hung or grew; the verdict says which."""

    def __init__(self, verdict: Verdict, detail: str) -> None:
        super().__init__(detail)
        self.verdict, self.detail = verdict, detail


class StackProcess:
    """One backend in a process of its own, started when first asked and again after it died.

    Parameters
    ----------
    timeout_s
        Of one call.
    memory_bytes
        Resident memory beyond which it is stopped.
    threads
        What the stack is told about threads, by the usual variables of its environment.
    """

    def __init__(self, recipe: Recipe, *, timeout_s: float, memory_bytes: int, threads: int = 1) -> None:
        self.recipe, self.timeout_s, self.memory_bytes, self.threads = (
            recipe,
            timeout_s,
            memory_bytes,
            threads,
        )
        self.stack: Mapping[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._read = self._write = -1
        self._words: deque[bytes] = deque(maxlen=40)
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def start(self) -> Mapping[str, str]:
        """Start it, and return what it says its stack is.

        Raises
        ------
        EnvironmentLacking
            Where the stack or its device is not here.
        """
        if self._process is not None:
            return self.stack
        theirs_in, self._write = os.pipe()
        self._read, theirs_out = os.pipe()
        made = [self.recipe.name, self.recipe.entry, self.recipe.argument, str(theirs_in), str(theirs_out)]
        try:
            self._process = subprocess.Popen(
                [self.recipe.python, "-m", "dougong.backends.worker", *made],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(theirs_in, theirs_out),
                env=self._environment(),
                start_new_session=True,
            )
        except OSError as error:
            os.close(self._read)
            os.close(self._write)
            raise EnvironmentLacking(f"{self.recipe.python} does not run: {error.strerror}") from error
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        os.set_blocking(self._write, False)
        os.set_blocking(self._read, False)
        assert self._process.stdout is not None
        threading.Thread(target=_drain, args=(self._process.stdout, self._words), daemon=True).start()
        return self._greet()

    def _greet(self) -> Mapping[str, str]:
        deadline = time.monotonic() + STARTUP_S
        try:
            header, _ = receive(lambda into: self._fill(into, deadline))
        except (_Gone, BadFrame) as gone:
            self.stop()
            raise EnvironmentLacking(
                f"{self.recipe.name} does not start: {gone}",
                hint=f"try: {self.recipe.python} -c 'import {self.recipe.entry.partition(':')[0]}'",
            ) from gone
        if "hello" not in header:
            self.stop()
            raise EnvironmentLacking(str(header.get("lacking")), hint=header.get("hint"))
        self.stack = {**header["stack"], "threads": str(self.threads)}
        return self.stack

    def ask(self, call: Call, *, repeat: bool = False) -> Outcome:
        """Run one call; whatever becomes of the process is an outcome, never an exception."""
        try:
            self.start()
        except EnvironmentLacking as lacking:
            return Outcome(failed=Verdict.NOT_RUN, detail=lacking.message)
        deadline = time.monotonic() + self.timeout_s
        request = {"op": call.op, "attributes": dict(call.attributes), "repeat": repeat}
        try:
            send(lambda memory: self._put(memory, deadline), request, call.inputs)
            header, arrays = receive(lambda into: self._fill(into, deadline))
        except _Gone as gone:
            self.stop()
            return Outcome(failed=gone.verdict, detail=gone.detail)
        except BadFrame as bad:
            self.stop()
            return Outcome(failed=Verdict.CRASH, detail=f"what came back is no answer: {bad}")
        if "unsupported" in header:
            return Outcome(failed=Verdict.UNSUPPORTED, detail=str(header["unsupported"]))
        if "raised" in header:
            return Outcome(failed=Verdict.ERROR, detail=str(header["raised"]))
        answer = Answer(
            outputs={name: each.array for name, each in arrays.items()},
            device=str(header.get("device")),
            fallback=header.get("fallback"),
        )
        return Outcome(
            answer=answer,
            unsteady=header.get("unsteady"),
            wrote=header.get("wrote"),
            seconds=float(header.get("seconds", 0.0)),
        )

    def stop(self) -> None:
        """End it and all that it started."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(self._read)
        os.close(self._write)

    def close(self) -> None:
        """End it for good."""
        self.stop()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _put(self, memory: memoryview, deadline: float) -> None:
        while len(memory):
            self._watch(deadline)
            _, ready, _ = select.select([], [self._write], [], _LOOK_S)
            if not ready:
                continue
            try:
                memory = memory[os.write(self._write, memory[: 1 << 20]) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise self._death() from None

    def _fill(self, into: memoryview, deadline: float) -> None:
        done = 0
        while done < len(into):
            ready, _, _ = select.select([self._read], [], [], _LOOK_S)
            if not ready:
                self._watch(deadline)
                continue
            count = os.readv(self._read, [into[done:]])
            if not count:
                raise self._death()
            done += count

    def _watch(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise _Gone(Verdict.TIMEOUT, f"no answer within {self.timeout_s:g} s{self._last_words()}")
        resident = self._resident_bytes()
        if resident > self.memory_bytes:
            raise _Gone(
                Verdict.CRASH,
                f"stopped at {resident / 1e9:.1f} GB of memory; the limit is {self.memory_bytes / 1e9:.1f} GB",
            )

    def _resident_bytes(self) -> int:
        assert self._process is not None
        try:
            text = Path(f"/proc/{self._process.pid}/statm").read_text(encoding="ascii")
        except OSError:
            return 0
        return int(text.split()[1]) * _PAGE_BYTES

    def _death(self) -> _Gone:
        assert self._process is not None
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return _Gone(Verdict.CRASH, f"closed its pipe and stayed{self._last_words()}")
        how = f"died of {signal.Signals(-code).name}" if code < 0 else f"left with status {code}"
        return _Gone(Verdict.CRASH, f"{how}{self._last_words()}")

    def _last_words(self) -> str:
        text = b"".join(self._words).decode(errors="replace").strip()
        return f"; last words: {text[-300:]}" if text else ""

    def _environment(self) -> dict[str, str]:
        count = str(self.threads)
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), count)
        found = {**os.environ, **threads, **self.recipe.environment}
        found["PYTHONPATH"] = os.pathsep.join(
            part for part in (self._own_place(), found.get("PYTHONPATH", "")) if part
        )
        return found

    def _own_place(self) -> str:
        """Return a folder that holds this package and nothing else, for an interpreter that has none."""
        package = Path(dougong.__file__).parent
        if package.parent.name == "src":
            return str(package.parent)
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="dougong-")
            (Path(self._folder.name) / package.name).symlink_to(package)
        return self._folder.name


def _drain(stream: IO[bytes], words: deque[bytes]) -> None:
    with stream:
        while chunk := os.read(stream.fileno(), 1 << 12):
            words.append(chunk[-400:])
