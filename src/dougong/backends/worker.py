"""A stack in a process of its own: reads calls, runs them, writes answers, until its pipe closes.

``python -m dougong.backends.worker NAME ENTRY ARGUMENT IN OUT``: the backend's name, the object that makes it
(``module:attribute``), what it is made of (a device string, or nothing) and two file descriptors. Needs numpy and
ml_dtypes beside the stack. What the stack prints goes to the standard error.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

import numpy as np

from dougong.backends.port import Answer, Array, Backend, Call, Refused, Unsupported
from dougong.backends.wire import Guarded, receive, send
from dougong.errors import EnvironmentLacking

_MOST_WORDS = 2000


class _Pipes:
    def __init__(self, incoming: int, outgoing: int) -> None:
        self.incoming, self.outgoing = incoming, outgoing

    def read(self, into: memoryview) -> None:
        done = 0
        while done < len(into):
            count = os.readv(self.incoming, [into[done:]])
            if not count:
                raise EOFError
            done += count

    def write(self, memory: memoryview) -> None:
        while len(memory):
            memory = memory[os.write(self.outgoing, memory) :]


def make(name: str, entry: str, argument: str) -> Backend:
    """Import the object that makes a backend and make it."""
    module, _, attributes = entry.partition(":")
    made: Any = importlib.import_module(module)
    for attribute in attributes.split("."):
        made = getattr(made, attribute)
    backend = cast(Backend, made(argument) if argument else made())
    backend.name = name
    return backend


def serve(backend: Backend, pipes: _Pipes) -> None:
    """Answer calls until the pipe closes."""
    while True:
        try:
            header, arrays = receive(pipes.read)
        except EOFError:
            return
        reply, outputs = answer(backend, header, arrays)
        send(pipes.write, reply, outputs)


def answer(
    backend: Backend, header: Mapping[str, Any], arrays: Mapping[str, Guarded]
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Run one call, and once more after another of the same shapes where the header says ``repeat``."""
    call = Call(
        op=str(header["op"]),
        inputs={name: each.array for name, each in arrays.items()},
        attributes=_frozen(header["attributes"]),
    )
    start = time.perf_counter()
    try:
        first = backend.run(call)
    except Unsupported as lacking:
        return {"unsupported": str(lacking)[:_MOST_WORDS]}, {}
    except (Exception, SystemExit) as error:
        words = "the reference refuses it" if isinstance(error, Refused) else str(error)
        return {"raised": f"{type(error).__name__}: {words}"[:_MOST_WORDS]}, {}
    seconds = time.perf_counter() - start
    outputs = {str(name): np.asarray(array) for name, array in first.outputs.items()}
    kept = {name: array.copy() for name, array in outputs.items()}
    reply: dict[str, Any] = {"device": str(first.device), "fallback": first.fallback, "seconds": seconds}
    reply["wrote"] = first.wrote or next(
        (f"{name}: {what}" for name, each in arrays.items() if (what := each.changed())), None
    )
    repeated = header["repeat"] and reply["wrote"] is None
    reply["unsteady"] = unsteady(backend, call, outputs, kept) if repeated else None
    return reply, kept


def unsteady(
    backend: Backend, call: Call, outputs: Mapping[str, Array], kept: Mapping[str, Array]
) -> str | None:
    """Run another call of the same shapes, then the same call again; say what became of the first answer."""
    others = {name: _other(array) for name, array in call.inputs.items()}
    with suppress(Exception):  # only its traces matter
        backend.run(Call(op=call.op, inputs=others, attributes=call.attributes))
    for name, array in outputs.items():
        if not _alike(array, kept[name]):
            return f"{name}: an answer that was kept changed when another call was run"
    try:
        second: Answer = backend.run(call)
    except Exception as error:
        return f"the second run raised {type(error).__name__}: {str(error)[:200]}"
    for name, array in second.outputs.items():
        if not _alike(np.asarray(array), kept[str(name)]):
            return f"{name}: the second run gave other bits"
    return None


def _other(array: Array) -> Array:
    # Floats in reverse keep every range; ids and lengths stay as they are, so that the call stays a legal one.
    if array.dtype.kind in "biu" or not array.size:
        return array.copy()
    return np.flip(array).copy()


def _alike(left: Array, right: Array) -> bool:
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    return left.tobytes() == right.tobytes() or bool(
        np.all((left == right) | ((left != left) & (right != right)))
    )


def _frozen(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_frozen(each) for each in cast("list[Any]", value))
    if isinstance(value, dict):
        return {name: _frozen(each) for name, each in cast("dict[str, Any]", value).items()}
    return value


def _die_with_parent() -> None:
    # A suite that is killed leaves no stack behind it (Linux: PR_SET_PDEATHSIG).
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def main(words: list[str]) -> int:
    """Make the backend, say hello, serve."""
    _die_with_parent()
    name, entry, argument, incoming, outgoing = words
    pipes = _Pipes(int(incoming), int(outgoing))
    try:
        backend = make(name, entry, argument)
        stack = {str(key): str(value) for key, value in backend.describe().items()}
    except EnvironmentLacking as lacking:
        send(pipes.write, {"lacking": lacking.message, "hint": lacking.hint}, {})
        return 4
    except ImportError as error:
        hint = f"pip install {error.name.partition('.')[0]}" if error.name else None
        send(pipes.write, {"lacking": f"{name} does not load: {error}", "hint": hint}, {})
        return 4
    except Exception as error:
        send(
            pipes.write,
            {"lacking": f"{name} does not start: {type(error).__name__}: {error}", "hint": None},
            {},
        )
        return 4
    stack["python"] = ".".join(str(part) for part in sys.version_info[:3])
    send(pipes.write, {"hello": name, "stack": stack}, {})
    serve(backend, pipes)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
