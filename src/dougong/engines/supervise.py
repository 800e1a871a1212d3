"""Keeps an engine running: launch, health, hang, restart with back-off, and a verdict when that is no use."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from dougong.engines.log import EngineLog
from dougong.engines.port import LaunchCommand
from dougong.engines.process import EngineProcess, is_healthy
from dougong.errors import EngineError

STATES = ("starting", "ready", "unresponsive", "waiting", "stopping", "stopped", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """How patient the supervisor is; all times in seconds."""

    start_s: float = 1800.0  # loading hundreds of gigabytes takes its time
    probe_every_s: float = 2.0
    probe_timeout_s: float = 10.0
    probes_failed: int = 3  # in a row, of an engine that was ready: it hangs
    grace_s: float = 20.0  # between SIGTERM and SIGKILL
    backoff_first_s: float = 1.0
    backoff_most_s: float = 60.0
    deaths: int = 5  # within ``deaths_within_s``: a crash loop
    deaths_within_s: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to an engine."""

    state: str  # one of STATES
    at_s: float  # since the supervisor was made
    message: str


class Supervisor:
    """One engine, kept running from :meth:`start` to :meth:`stop` by a thread of its own.

    Parameters
    ----------
    name
        How the engine is called in words.
    command
        What is launched.
    log
        Where its output goes.
    on_event
        Called from the supervisor's thread with every change of state.
    """

    def __init__(
        self,
        name: str,
        command: LaunchCommand,
        log: EngineLog,
        *,
        watch: Watch | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self.name, self.command, self.log = name, command, log
        self.watch = watch or Watch()
        self.state = "stopped"
        self.restarts = 0
        self.failure: EngineError | None = None
        self._on_event = on_event
        self._began_s = time.monotonic()
        self._deaths: deque[float] = deque(maxlen=self.watch.deaths)
        self._settled = threading.Event()  # ready once, or failed
        self._stop = threading.Event()
        self._process: EngineProcess | None = None
        self._thread = threading.Thread(target=self._run, name=f"supervise-{name}", daemon=True)

    def start(self) -> None:
        """Launch the engine; returns at once."""
        self._thread.start()

    def wait_ready(self, timeout_s: float | None = None) -> bool:
        """Wait until the engine answers; False where ``timeout_s`` passes first.

        Raises
        ------
        EngineError
            It ended before it was ready, or took longer than ``watch.start_s``; with its last lines.
        """
        settled = self._settled.wait(timeout_s)
        if self.failure is not None:
            raise self.failure
        return settled

    def ask_to_stop(self) -> None:
        """Have the engine ended; returns at once."""
        self._stop.set()

    def stop(self) -> None:
        """End the engine and the thread; safe to call twice."""
        self.ask_to_stop()
        if self._thread.ident is not None:
            self._thread.join(self.watch.grace_s + 30)

    @property
    def pid(self) -> int | None:
        """Process id under which engine and helpers run, while they do."""
        process = self._process
        return process.pid if process is not None and process.exit_code() is None else None

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                lived_s = self._one_life()
                if self._stop.is_set() or self.failure is not None:
                    return
                self._back_off(lived_s)
        except EngineError as error:
            self._fail(error)
        finally:
            if self._process is not None:
                if self._process.exit_code() is None:
                    self._tell("stopping", f"{self.name} is told to end")
                self._process.stop()
            if self.failure is None:
                self._tell("stopped", f"{self.name} has ended")
            self._settled.set()

    def _one_life(self) -> float:
        """Launch, wait, watch; return the seconds it was ready."""
        launched_s = time.monotonic()
        self._tell("starting", f"{self.name} is starting")
        self._process = EngineProcess(self.command, self.log, grace_s=self.watch.grace_s)
        if not self._until_ready(self._process, launched_s):
            return 0.0
        ready_s = time.monotonic()
        self._tell("ready", f"{self.name} is ready after {ready_s - launched_s:.1f} s")
        self._settled.set()
        failed = 0
        while not self._stop.wait(self.watch.probe_every_s):
            if (code := self._process.exit_code()) is not None:
                self._died(f"{self.name} ended with {_words(code)}")
                break
            failed = 0 if is_healthy(self.command, self.watch.probe_timeout_s) else failed + 1
            if failed >= self.watch.probes_failed and not self._ends(self._process):
                self._tell("unresponsive", f"{self.name} runs, and {failed} health probes went unanswered")
                self._process.kill()
                self._died(f"{self.name} hung and was ended")
                break
        return time.monotonic() - ready_s

    def _ends(self, process: EngineProcess) -> bool:
        """Whether the engine is on its way out: a dead one refuses probes before its guard has seen it end."""
        until_s = time.monotonic() + self.watch.probe_timeout_s
        while process.exit_code() is None and time.monotonic() < until_s and not self._stop.wait(0.02):
            continue
        return process.exit_code() is not None

    def _until_ready(self, process: EngineProcess, launched_s: float) -> bool:
        while not self._stop.wait(min(0.1, self.watch.probe_every_s)):
            if (code := process.exit_code()) is not None:
                self._died(f"{self.name} ended with {_words(code)} before it was ready")
                return False
            if is_healthy(self.command, self.watch.probe_timeout_s) and process.exit_code() is None:
                return True
            if time.monotonic() - launched_s > self.watch.start_s:
                process.kill()
                self._died(f"{self.name} was not ready within {self.watch.start_s:g} s")
                return False
        return False

    def _died(self, what: str) -> None:
        self._deaths.append(time.monotonic())
        if self._process is not None:
            self._process.stop()  # it has ended; this lets go of its pipes
        if not self._settled.is_set():  # it never worked: the words are wrong, and trying again is no use
            raise self._verdict(what, None)
        if len(self._deaths) == self.watch.deaths:
            span_s = self._deaths[-1] - self._deaths[0]
            if span_s < self.watch.deaths_within_s:
                often = f"that was {self.watch.deaths} times in {span_s:.0f} s, and " if span_s else ""
                loop = f"{what}; {often}it is given up"
                raise self._verdict(loop, "mend what its last lines say, then serve again")
        self._tell("waiting", what)

    def _back_off(self, lived_s: float) -> None:
        self.restarts += 1
        recent = sum(time.monotonic() - death < self.watch.deaths_within_s for death in self._deaths)
        pause_s = min(self.watch.backoff_first_s * 2.0 ** max(recent - 1, 0), self.watch.backoff_most_s)
        self._tell("waiting", f"{self.name} lived {lived_s:.0f} s and is started again in {pause_s:g} s")
        self._stop.wait(pause_s)

    def _verdict(self, what: str, hint: str | None) -> EngineError:
        lines = self.log.tail()
        quoted = (
            "\n".join(["its last lines:", *(f"  {line}" for line in lines)])
            if lines
            else "it printed nothing"
        )
        where = f"all of them: {self.log.path}" if self.log.path is not None else None
        return EngineError(f"{what}\n{quoted}", hint="; ".join(filter(None, (hint, where))) or None)

    def _fail(self, error: EngineError) -> None:
        self.failure = error
        self._tell("failed", error.message.partition("\n")[0])
        self._settled.set()

    def _tell(self, state: str, message: str) -> None:
        self.state = state
        if self._on_event is not None:
            self._on_event(Event(state=state, at_s=time.monotonic() - self._began_s, message=message))


def _words(code: int) -> str:
    if code > 128:
        import signal

        try:
            return f"signal {signal.Signals(code - 128).name}"
        except ValueError:
            pass
    return f"exit code {code}"
