"""A run: cases are made and judged here, and asked of a stack in processes of their own."""

from __future__ import annotations

import datetime
import fnmatch
import os
import queue
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from dougong.backends.registry import Recipe, recipe
from dougong.errors import InputError
from dougong.verify.case import PROFILES, Case
from dougong.verify.edition import EDITION, suite_digest
from dougong.verify.families import cases
from dougong.verify.host import here
from dougong.verify.judge import judge
from dougong.verify.process import StackProcess
from dougong.verify.records import (
    Header,
    RunRecord,
    check_resumable,
    read_run,
    result_to_json,
    to_line,
)
from dougong.verify.reproducer import script
from dougong.verify.semantics import Semantics
from dougong.verify.shrink import shrink
from dougong.verify.verdict import Result, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be run.

    Attributes
    ----------
    only
        Globs of ids, or beginnings of them; all where empty.
    jobs
        Stacks that run side by side.
    memory_bytes
        Resident memory of one of them beyond which it is stopped.
    reproducers
        How many failures, of different families first, are shrunk and told as scripts.
    """

    recipe: Recipe
    semantics: Semantics
    profile: str = "smoke"
    only: tuple[str, ...] = ()
    seed: int = 0
    jobs: int = 2
    timeout_s: float = 60.0
    threads: int = 1
    memory_bytes: int = 1 << 33
    reproducers: int = 8


_BEYOND = frozenset({"out_of_range_id", "slot_beyond_cache"})
_MOST_LETTERS = 1 << 18  # a script that nobody would read or send
_SHRUNK = (Verdict.WRONG, Verdict.DEVIATES, Verdict.ERROR)

Seen = Callable[[Result, int, int], None]
"""Told of each result, how many are done and of how many."""


def selected(profile: str, only: Sequence[str] = ()) -> list[Case]:
    """Return the cases of a profile, and of those the ones that ``only`` names.

    Raises
    ------
    InputError
        Where a pattern names none.
    """
    within = PROFILES[: PROFILES.index(profile) + 1]
    found = [case for case in cases() if case.profile in within]
    if not only:
        return found
    empty = [pattern for pattern in only if not any(matches(case.id, pattern) for case in found)]
    if empty:
        raise InputError(
            f"no case of {profile} is called {', '.join(map(repr, empty))}",
            hint="list them with: dougong verify list",
        )
    return [case for case in found if any(matches(case.id, pattern) for pattern in only)]


def matches(case: str, pattern: str) -> bool:
    """Whether a pattern names a case: a glob, or the beginning of its id."""
    return case.startswith(pattern) or fnmatch.fnmatchcase(case, pattern)


def run(
    request: Request,
    *,
    out: Path | None = None,
    seen: Seen = lambda result, done, of: None,
    mutation: Callable[[], dict[str, object]] = dict,
) -> RunRecord:
    """Run a profile, or the rest of it where ``out`` holds an unfinished run of the same.

    Parameters
    ----------
    mutation
        Asked at the end for the mutation score of the suite.

    Raises
    ------
    EnvironmentLacking
        Where the stack or its device is not here.
    """
    chosen, start = selected(request.profile, request.only), time.perf_counter()
    stacks = [
        StackProcess(
            request.recipe,
            timeout_s=request.timeout_s,
            memory_bytes=request.memory_bytes,
            threads=request.threads,
        )
        for _ in range(max(1, min(request.jobs, len(chosen))))
    ]
    try:
        header = _header(request, {**here(), **stacks[0].start()}, len(chosen))
        done: dict[str, Result] = {}
        with _Sink(out, header) as sink:
            done |= {result.case: result for result in sink.found}
            waiting: queue.SimpleQueue[Case] = queue.SimpleQueue()
            for case in chosen:
                if case.id not in done:
                    waiting.put(case)
            for result in _all(waiting, stacks, request, header):
                done[result.case] = result
                sink.write(result)
                seen(result, len(done), len(chosen))
            seconds = time.perf_counter() - start
            scripts = reproduce(chosen, done, stacks[0], request, header)
            for name, text in scripts.items():
                sink.script(name, text)
            score = mutation()
            sink.end(seconds, score, done.values())
    finally:
        for stack in stacks:
            stack.close()
    order = [done[case.id] for case in chosen if case.id in done]
    record = RunRecord(
        header=sink.header, results=tuple(order), seconds=seconds, mutation=score, reproducers=scripts
    )
    return replace(record, sha256=read_run(out).sha256) if out is not None else record


def stack_here(backend: str, *, python: str | None = None, threads: int = 1) -> dict[str, str]:
    """Start a backend, and return the stack tuple that a run of it would have.

    Raises
    ------
    EnvironmentLacking
        Where it is not here.
    """
    stack = StackProcess(
        recipe(backend, python=python), timeout_s=60.0, memory_bytes=1 << 40, threads=threads
    )
    try:
        return {**here(), **stack.start()}
    finally:
        stack.close()


def run_case(case: Case, stack: StackProcess, request: Request, device: str | None) -> Result:
    """Make one case, ask the stack, judge."""
    start = time.perf_counter()
    call = case.call(request.seed)
    outcome = stack.ask(call, repeat=case.repeatable)
    result = judge(case, call, outcome, semantics=request.semantics, device=device, ask=stack.ask)
    if outcome.answer is not None and _BEYOND.intersection(case.switches):
        stack.stop()  # it may have written where it should not: what it breaks by that is no other case's verdict
    return replace(result, seconds=time.perf_counter() - start)


def reproduce(
    chosen: Sequence[Case],
    done: Mapping[str, Result],
    stack: StackProcess,
    request: Request,
    header: Header,
) -> dict[str, str]:
    """Shrink some failures and return the script of each."""
    found: dict[str, str] = {}
    failed = [case for case in chosen if case.id in done and done[case.id].verdict in _SHRUNK]
    rank: Counter[str] = Counter()
    places: dict[str, int] = {}
    for case in failed:
        rank[case.family] += 1
        places[case.id] = rank[case.family]
    for case in sorted(failed, key=lambda each: places[each.id])[: request.reproducers]:
        device = header.stack.get("device")
        small = shrink(
            case, case.call(request.seed), done[case.id], stack.ask, request.semantics, device=device
        )
        text = script(case, small, request.recipe.name, header.stack)
        if len(text) <= _MOST_LETTERS:
            found[case.id] = text
    return found


def _all(
    waiting: queue.SimpleQueue[Case], stacks: Sequence[StackProcess], request: Request, header: Header
) -> Iterable[Result]:
    """Yield results as they come; the threads share the interpreter, and numpy lets go of it."""
    results: queue.SimpleQueue[Result | BaseException | None] = queue.SimpleQueue()
    stopped = threading.Event()

    def work(stack: StackProcess) -> None:
        try:
            while not stopped.is_set():
                case = waiting.get_nowait()
                results.put(run_case(case, stack, request, header.stack.get("device")))
        except queue.Empty:
            pass
        except BaseException as error:  # told in the thread that waits
            results.put(error)
        results.put(None)

    threads = [threading.Thread(target=work, args=(stack,), daemon=True) for stack in stacks]
    for thread in threads:
        thread.start()
    try:
        left = len(threads)
        while left:
            result = results.get()
            if result is None:
                left -= 1
            elif isinstance(result, BaseException):
                raise result
            else:
                yield result
    finally:
        stopped.set()
        for stack in stacks:
            stack.stop()
        for thread in threads:
            thread.join(request.timeout_s)


def _header(request: Request, stack: dict[str, str], count: int) -> Header:
    return Header(
        backend=request.recipe.name,
        stack=stack,
        suite=EDITION,
        suite_sha256=suite_digest(),
        profile=request.profile,
        semantics=request.semantics.name,
        seed=request.seed,
        cases=count,
        started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        nonce=secrets.token_hex(16),
        only=request.only,
    )


class _Sink:
    """The file of results, or nothing; goes on with an unfinished one."""

    def __init__(self, path: Path | None, header: Header) -> None:
        self.path, self.header = path, header
        self.found: tuple[Result, ...] = ()
        self._file: IO[str] | None = None

    def __enter__(self) -> _Sink:
        if self.path is None:
            return self
        if not self.path.parent.is_dir():
            raise InputError(f"there is no folder {str(self.path.parent)!r}")
        if self.path.exists() and self.path.stat().st_size:
            old = read_run(self.path)
            check_resumable(self.header, old, self.path)
            if old.finished:
                raise InputError(
                    f"{self.path} holds this run already, finished",
                    hint="name another --out, or remove the file",
                )
            self.header, self.found = old.header, _settled(old)
        self._file = self.path.open("w", encoding="utf-8")
        self._line(self.header.to_json())
        for result in self.found:
            self.write(result)
        return self

    def write(self, result: Result) -> None:
        self._line(result_to_json(result))

    def script(self, case: str, text: str) -> None:
        self._line({"kind": "reproducer", "case": case, "script": text})

    def end(self, seconds: float, mutation: dict[str, object], results: Iterable[Result]) -> None:
        counts = RunRecord(header=self.header, results=tuple(results)).counts()
        self._line({"kind": "end", "seconds": round(seconds, 3), "counts": counts, "mutation": mutation})

    def _line(self, content: dict[str, object]) -> None:
        if self._file is not None:
            self._file.write(to_line(content))
            self._file.flush()

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()


def _settled(old: RunRecord) -> tuple[Result, ...]:
    return tuple(result for result in old.results if result.verdict is not Verdict.NOT_RUN)
