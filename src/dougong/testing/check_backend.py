"""What every adapter of a stack must keep, as a battery: run it in your own tests before you run the suite."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dougong.backends import Backend
    from dougong.verify.case import Case


def check_backend(make: Callable[[], Backend], *, operators: int = 1) -> list[str]:
    """Hold an adapter to the contract of :mod:`dougong.backends.port`, and return what it breaks.

    Parameters
    ----------
    make
        Makes the backend: its class, or a function.
    operators
        At least so many operators are wanted; ``dougong verify ops`` says how many cases they come to.

    Returns
    -------
    list of str
        One sentence per fault; empty where the adapter keeps the contract.

    Examples
    --------
    >>> from dougong.backends.reference.backend import ReferenceBackend
    >>> check_backend(ReferenceBackend)
    []
    """
    from dougong.backends import Unsupported
    from dougong.ops.definitions import DEFINITIONS

    backend = make()
    faults = _description(backend)
    offered: list[str] = []
    for name in DEFINITIONS:
        told, offers = _operator(backend, name)
        faults += told
        offered += [name] if offers else []
    if len(offered) < operators:
        faults.append(f"it offers {len(offered)} operators, and {operators} are wanted")
    try:
        from dougong.backends import Call

        backend.run(Call(op="no_such_operator", inputs={}))
        faults.append("an operator that it cannot know is answered; Unsupported is to be raised")
    except Unsupported:
        pass
    except Exception as error:
        faults.append(f"an operator that it cannot know raises {type(error).__name__}, not Unsupported")
    return faults


def _description(backend: Backend) -> list[str]:
    faults: list[str] = []
    if not str(getattr(backend, "name", "")):
        faults.append("it has no name")
    try:
        told: dict[object, object] = {**backend.describe()}
        json.dumps(told)
    except Exception as error:
        return [*faults, f"describe() raises {type(error).__name__}: {error}"]
    if not all(isinstance(each, str) for pair in told.items() for each in pair):
        faults.append("describe() is to map texts to texts")
    if "device" not in told:
        faults.append("describe() does not name its device: a fallback could not be told")
    if len(told) < 3:
        faults.append(
            "describe() is to name every element of the stack that may change a number: versions, flags, chip"
        )
    if dict(backend.describe()) != told:
        faults.append("describe() says another stack when asked twice")
    return faults


def _operator(backend: Backend, name: str) -> tuple[list[str], bool]:
    """Run the smallest case of an operator as the suite would, and one with strides."""
    from dougong.verify.inside import ask_inside
    from dougong.verify.verdict import Verdict

    case = _smallest(name)
    if case is None:
        return [], False
    call = case.call()
    outcome = ask_inside(backend, call, repeat=case.repeatable)
    if outcome.failed is Verdict.UNSUPPORTED:
        return [], False
    if outcome.answer is None:
        return ([] if case.switches else [f"{case.id}: {outcome.detail}"]), True
    faults = [f"{case.id}: wrote to {outcome.wrote}"] if outcome.wrote else []
    if outcome.unsteady and case.repeatable:
        faults.append(f"{case.id}: {outcome.unsteady}")
    answer, told = outcome.answer, backend.describe().get("device", "")
    if answer.device.partition(":")[0] != told.partition(":")[0]:
        faults.append(f"{case.id}: computed on {answer.device!r}, and describe() says {told!r}")
    given = {key: array[...] for key, array in call.inputs.items()}
    strided = {key: array.T.copy().T if array.ndim == 2 else array for key, array in given.items()}
    other = ask_inside(backend, replace(call, inputs=strided))
    if other.answer is None and other.failed is not Verdict.UNSUPPORTED:
        faults.append(f"{case.id}: inputs that are not contiguous: {other.detail}")
    return faults, True


def _smallest(name: str) -> Case | None:
    """Return the plainest case of an operator: of the least profile, without switches where there is one."""
    from dougong.verify.case import PROFILES

    found = sorted(
        _by_operator().get(name, ()), key=lambda case: (len(case.switches), PROFILES.index(case.profile))
    )
    return found[0] if found else None


@cache
def _by_operator() -> dict[str, list[Case]]:
    from dougong.verify.families import cases

    found: dict[str, list[Case]] = {}
    for case in cases():
        if case.profile != "full":
            found.setdefault(case.op, []).append(case)
    return found
