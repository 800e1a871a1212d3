"""Runs one command and takes it, and all it started, along when whoever started the guard is gone.

Run as a file by :mod:`dougong.engines.process`: ``python -I -S guard.py GRACE_S COMMAND…``. The guard holds the
reading end of a pipe as its stdin. The kernel closes the other end when its owner dies, whatever killed it, so
that end of file means: stop. The command gets SIGTERM, a grace, then SIGKILL; on Linux the guard adopts
orphans, so that what left the process group is found too, and the command dies with the guard.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36
_SOON_S = 0.02
_LINUX = sys.platform.startswith("linux")


def main(arguments: list[str]) -> int:
    """Run the command until it ends or the pipe does; return its exit code, or 128 + signal."""
    grace_s, command = float(arguments[0]), arguments[1:]
    prctl = ctypes.CDLL(None, use_errno=True).prctl if _LINUX else None
    if prctl is not None:
        prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda got, _: asked.append(got))
    signal.signal(signal.SIGCHLD, lambda got, _: None)
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    child = _start(command, prctl)
    if child < 0:
        return 127
    code: int | None = None
    deadline: float | None = None
    pipe: int | None = 0
    while True:
        code = _reap(child, code)
        ending = code is not None or bool(asked)
        left = _descendants(os.getpid()) if ending else []  # a walk over all processes: only when it counts
        if code is not None and not left:
            return code
        if ending and deadline is None:  # helpers that outlive the command are to go as well
            deadline = time.monotonic() + grace_s
            _signal(left, signal.SIGTERM)
        elif deadline is not None and time.monotonic() > deadline:
            _signal(left, signal.SIGKILL)
        watched = [woken] if pipe is None else [woken, pipe]
        ready = select.select(watched, [], [], _SOON_S if ending else None)[0]
        if woken in ready:
            os.read(woken, 4096)
        if pipe in ready and not os.read(0, 4096):
            pipe = None
            asked.append(signal.SIGTERM)


def _start(command: list[str], prctl: object) -> int:
    child = os.fork()
    if child:
        return child
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        if callable(prctl):
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.execvp(command[0], command)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(127)


def _reap(child: int, code: int | None) -> int | None:
    while True:
        try:
            gone, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if gone == 0:
            return code
        if gone == child:
            code = os.waitstatus_to_exitcode(status)
            code = 128 - code if code < 0 else code


def _descendants(root: int) -> list[int]:
    parents: dict[int, int] = {}
    if _LINUX:
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                except OSError:
                    continue  # it went while we looked
                if fields[0] != "Z":
                    parents[int(entry.name)] = int(fields[1])
    else:
        listed = subprocess.run(
            ["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=False
        ).stdout
        parents = {int(pid): int(parent) for pid, parent in (line.split() for line in listed.splitlines())}
    found: set[int] = set()
    layer = {root}
    while layer:
        layer = {pid for pid, parent in parents.items() if parent in layer} - found
        found |= layer
    return sorted(found)


def _signal(processes: list[int], number: int) -> None:
    for process in processes:
        try:
            os.kill(process, number)
        except ProcessLookupError:
            continue


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
