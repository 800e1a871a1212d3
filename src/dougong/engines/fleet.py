"""Several engines kept running together: started at once, waited for, and ended with their owner."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dougong.engines.log import EngineLog
from dougong.engines.port import LaunchCommand
from dougong.engines.supervise import Event, Supervisor, Watch
from dougong.errors import EngineError
from dougong.places import state_dir


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One replica that is to be launched."""

    name: str
    command: LaunchCommand


class Fleet:
    """Supervisors of several engines, as a context manager: leaving it ends them all.

    Parameters
    ----------
    launches
        What to launch.
    watch
        How patient each supervisor is.
    on_event
        Called with the replica's name and every change of its state, from several threads.
    logs
        Folder of the engines' logs; the state folder by default.
    """

    def __init__(
        self,
        launches: Sequence[Launch],
        *,
        watch: Watch | None = None,
        on_event: Callable[[str, Event], None] | None = None,
        logs: Path | None = None,
    ) -> None:
        folder = logs if logs is not None else state_dir() / "logs"
        self.supervisors: dict[str, Supervisor] = {}
        for launch in launches:
            hidden = [value for name, value in launch.command.env.items() if name in launch.command.secrets]
            hidden += [word for word in launch.command.argv if word in launch.command.secrets]
            plain = re.sub(r"[^\w.-]+", "-", launch.name)
            log = EngineLog(folder / f"{plain}.log", secrets=hidden)
            self.supervisors[launch.name] = Supervisor(
                launch.name, launch.command, log, watch=watch, on_event=_named(launch.name, on_event)
            )

    def __enter__(self) -> Fleet:
        for supervisor in self.supervisors.values():
            supervisor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_ready(self, on_wait: Callable[[str, float, str], None] | None = None) -> None:
        """Wait until every engine answers.

        Parameters
        ----------
        on_wait
            Called a few times a second with the name of one that is waited for, the seconds so far, and the
            last line it printed.

        Raises
        ------
        EngineError
            One of them ended before; the rest are ended too.
        """
        began_s = time.monotonic()
        for name, supervisor in self.supervisors.items():
            while not supervisor.wait_ready(0.2):
                if on_wait is not None:
                    on_wait(name, time.monotonic() - began_s, "".join(supervisor.log.tail(1)))

    def failure(self) -> EngineError | None:
        """Return the verdict on an engine where all have been given up; None while one is left."""
        failures = [supervisor.failure for supervisor in self.supervisors.values()]
        return failures[0] if failures and all(failures) else None

    def stop(self) -> None:
        """End all engines, side by side."""
        for supervisor in self.supervisors.values():
            supervisor.ask_to_stop()
        for supervisor in self.supervisors.values():
            supervisor.stop()


def _named(name: str, on_event: Callable[[str, Event], None] | None) -> Callable[[Event], None] | None:
    return None if on_event is None else lambda event: on_event(name, event)
