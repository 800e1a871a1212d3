"""From a case, its call and what a stack made of it to a verdict: the checks, in their order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from dougong.backends import Answer, Array, Call, Refused
from dougong.backends.dtypes import output_dtypes
from dougong.backends.reference import FORMULAS
from dougong.ops.definitions import DEFINITIONS
from dougong.verify.bound import UNIT_ROUNDOFF, Bound, Rule, classes
from dougong.verify.bounds import BOUNDS
from dougong.verify.case import Case
from dougong.verify.compare import Finding, hold, same_bits
from dougong.verify.relations import RELATIONS, related
from dougong.verify.semantics import SEMANTICS, Semantics
from dougong.verify.verdict import Result, Verdict


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What a stack made of one call.

    Attributes
    ----------
    answer
        ``None`` where it raised, lacks the operator, or died.
    failed
        The verdict of a stack that gave no answer, with ``detail``.
    unsteady
        How the second run, or the kept answer of the first, differs from the first; ``None`` where it does not.
    wrote
        The input, or the memory beside it, that was changed.
    """

    answer: Answer | None = None
    failed: Verdict | None = None
    detail: str = ""
    unsteady: str | None = None
    wrote: str | None = None
    seconds: float = 0.0


Ask = Callable[[Call], Outcome]

PATIENCE_S = 4.0
"""How long the further calls of one relation may take; a stack that compiles each shape is not asked them all."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expected:
    """The reference under one choice of semantics; ``outputs`` is ``None`` where raising is right."""

    choice: Mapping[str, str]
    conforms: bool
    outputs: Mapping[str, Array] | None
    bounds: Mapping[str, Bound | Rule]


def judge(
    case: Case,
    call: Call,
    outcome: Outcome,
    *,
    semantics: Semantics = SEMANTICS["llm-strict"],
    device: str | None = None,
    ask: Ask | None = None,
    patience_s: float = PATIENCE_S,
) -> Result:
    """Hold what a stack made of a case against the float64 reference.

    Parameters
    ----------
    device
        The device that the stack says it is; an answer from another one is a fallback.
    ask
        Runs the further calls of the case's relations; without it they are not checked.
    patience_s
        How long the further calls of one relation may take [s].

    Notes
    -----
    Where specifications are silent, every answer of the case's switches is computed; the first that the stack's answer
    agrees with is recorded as a fact, and decides between PASS and DEVIATES.
    """
    if outcome.answer is None and outcome.failed is not Verdict.ERROR:
        return _result(case, outcome.failed or Verdict.NOT_RUN, "runs", outcome.detail)
    met: Result | None = None
    for expected in _expectations(case, call, semantics):
        result = _against(case, call, outcome, expected)
        if result.verdict is Verdict.PASS:
            if not expected.conforms:
                return _deviates(result, expected, semantics)
            return _after(case, call, outcome, expected, result, semantics, device, ask, patience_s)
        met = met or result
    assert met is not None
    return _elsewhere(met, outcome, device) or met


def _expectations(case: Case, call: Call, semantics: Semantics) -> Iterator[Expected]:
    for choice, conforms in semantics.choices(case.switches):
        yield _expectation(case, call, choice, conforms)


def _expectation(case: Case, call: Call, choice: Mapping[str, str], conforms: bool) -> Expected:
    told = replace(call, semantics=choice)
    bounds: Mapping[str, Bound | Rule] = {}
    try:
        with np.errstate(all="ignore"):
            outputs = FORMULAS[case.op](told)
            if not case.exact and case.op in BOUNDS:
                bounds = BOUNDS[case.op](told, outputs)
    except Refused:
        outputs = None
    return Expected(choice=choice, conforms=conforms, outputs=outputs, bounds=bounds)


def _against(case: Case, call: Call, outcome: Outcome, expected: Expected) -> Result:
    if expected.outputs is None:
        if outcome.answer is None:
            return _result(case, Verdict.PASS, "runs", facts=expected.choice)
        return _result(case, Verdict.WRONG, "runs", "an error was to be raised, and an answer came back")
    if outcome.answer is None:
        return _result(case, Verdict.ERROR, "runs", outcome.detail)
    got = outcome.answer.outputs
    wanted = output_dtypes(DEFINITIONS[case.op], call, case.dtype)
    missing = [name for name in expected.outputs if name not in got]
    if missing:
        return _result(case, Verdict.ERROR, "runs", f"no output {', '.join(missing)} came back")
    for name in expected.outputs:
        if got[name].dtype.name not in wanted[name]:
            return _result(
                case,
                Verdict.WRONG,
                "dtype",
                f"{name}: {got[name].dtype.name} instead of {' or '.join(wanted[name])}",
            )
    for name, value in expected.outputs.items():
        if got[name].shape != value.shape:
            return _result(
                case, Verdict.WRONG, "shape", f"{name}: {got[name].shape} instead of {value.shape}"
            )
    return _values(case, got, expected)


def _held(
    case: Case,
    name: str,
    value: Array,
    got: Array,
    bound: Bound | Rule | None,
    outputs: Mapping[str, Array],
    expected: Expected,
) -> Finding:
    signed = not DEFINITIONS[case.op].sums
    return hold(name, value, got, bound, outputs, expected.choice, case.dtype, signed_zero=signed)


def _values(case: Case, got: Mapping[str, Array], expected: Expected) -> Result:
    assert expected.outputs is not None
    findings = [
        _held(case, name, value, got[name], expected.bounds.get(name), got, expected)
        for name, value in expected.outputs.items()
    ]
    worst = max(findings, key=lambda finding: (not finding.right, finding.error))
    verdict = Verdict.PASS if worst.right else Verdict.DEVIATES if worst.precision else Verdict.WRONG
    detail = worst.detail
    if verdict is Verdict.DEVIATES:
        detail += f"; within that of {worst.precision}"
    return _result(
        case, verdict, worst.check, detail, finding=worst, facts=expected.choice if worst.right else {}
    )


def _after(
    case: Case,
    call: Call,
    outcome: Outcome,
    expected: Expected,
    result: Result,
    semantics: Semantics,
    device: str | None,
    ask: Ask | None,
    patience_s: float,
) -> Result:
    """What is asked of an answer that is right: side effects, the place, the same again, the same in other company."""
    if outcome.wrote:
        return _no(result, Verdict.WRONG, "runs", f"wrote to {outcome.wrote}")
    elsewhere = _elsewhere(result, outcome, device)
    if elsewhere:
        return elsewhere
    if case.repeatable and outcome.unsteady:
        verdict = Verdict.DEVIATES
        if "determinism" in semantics.bitwise or "kept" in outcome.unsteady:
            verdict = Verdict.WRONG
        return _no(result, verdict, "determinism", outcome.unsteady)
    if outcome.answer is None:
        return result
    vague = _not_told(case, outcome.answer.outputs, expected)
    if vague:
        result = _with_facts(result, {"precision": vague})
        if case.asks_precision:
            return _no(result, Verdict.INCONCLUSIVE, "value", vague)
    if ask is not None:
        return _in_company(case, call, outcome.answer, expected, result, semantics, ask, patience_s)
    return result


def _elsewhere(result: Result, outcome: Outcome, device: str | None) -> Result | None:
    answer = outcome.answer
    if answer is None:
        return None
    if answer.fallback:
        return _no(result, Verdict.FALLBACK, "runs", answer.fallback)
    if device is not None and _kind(answer.device) != _kind(device):
        return _no(result, Verdict.FALLBACK, "runs", f"computed on {answer.device}, not on {device}")
    return None


def _kind(device: str) -> str:
    return device.partition(":")[0]


def _not_told(case: Case, got: Mapping[str, Array], expected: Expected) -> str | None:
    """Which worse class of precision would look the same here."""
    assert expected.outputs is not None
    alike: set[str] = set()
    for name, bound in expected.bounds.items():
        value, dtype = expected.outputs[name], got[name].dtype.name
        if isinstance(bound, Bound) and value.size and dtype in UNIT_ROUNDOFF:
            finite = np.where(np.isfinite(value), value, 0.0).astype(np.float64)
            alike |= set(bound.not_told(finite, dtype, classes(case.dtype)))
    return f"not told from {', '.join(sorted(alike))}" if alike else None


def _in_company(
    case: Case,
    call: Call,
    answer: Answer,
    expected: Expected,
    result: Result,
    semantics: Semantics,
    ask: Ask,
    patience_s: float,
) -> Result:
    for name in case.relations:
        check, bitwise, start, cut_short = RELATIONS[name.partition(":")[0]].check, True, time.monotonic(), ""
        for asked, other in enumerate(related(name, DEFINITIONS[case.op], call)):
            if time.monotonic() - start > patience_s:
                cut_short = f", of the first {asked} calls: the rest would have taken too long"
                break
            said, outcome = f"{name}: {other.says}: " if other.says else f"{name}: ", ask(other.call)
            if outcome.answer is None:
                return _no(result, outcome.failed or Verdict.ERROR, check, f"{said}{outcome.detail}")
            if outcome.wrote:
                return _no(result, Verdict.WRONG, "runs", f"{said}wrote to {outcome.wrote}")
            if other.differs:
                if all(
                    same_bits(array, answer.outputs[key]) for key, array in outcome.answer.outputs.items()
                ):
                    return _no(result, Verdict.WRONG, check, f"{said}the same answer")
                continue
            if other.pick is None:
                alone = _expectation(case, other.call, expected.choice, expected.conforms)
                found = _against(case, other.call, outcome, alone)
                if found.verdict is not Verdict.PASS:
                    return replace(found, detail=f"{said}{found.detail}")
                bitwise = False
                continue
            finding, same = _picked(case, answer, outcome.answer, expected, other.pick)
            bitwise = bitwise and same
            if not finding.right:
                return _no(result, Verdict.WRONG, check, f"{said}{finding.detail}", finding)
        result = _with_facts(result, {name: f"{'same bits' if bitwise else 'within the bound'}{cut_short}"})
        if not bitwise and check in semantics.bitwise:
            return _no(result, Verdict.DEVIATES, check, f"{name}: other bits, within the bound")
    return result


def _picked(
    case: Case, answer: Answer, other: Answer, expected: Expected, pick: Callable[[str, Array], Array]
) -> tuple[Finding, bool]:
    """Hold another answer against what it must be of the whole one; say whether it has the same bits."""
    assert expected.outputs is not None
    same = True
    for output, value in expected.outputs.items():
        got, whole = other.outputs.get(output), pick(output, answer.outputs[output])
        if got is None or got.dtype != whole.dtype or got.shape != whole.shape:
            return Finding(right=False, detail=f"{output} has another dtype or shape"), False
        if same_bits(got, whole):
            continue
        same, bound = False, expected.bounds.get(output)
        if not isinstance(bound, Bound):
            return Finding(right=False, detail=f"{output}: not the same"), False
        bound = bound.picked(lambda part, output=output: pick(output, part), value.shape)
        finding = _held(case, output, pick(output, value), got, bound, other.outputs, expected)
        if not finding.right:
            return finding, False
    return Finding(right=True), same


def _deviates(result: Result, expected: Expected, semantics: Semantics) -> Result:
    said = "; ".join(
        f"{name} is {answer!r} here, {semantics.name} accepts {' or '.join(semantics.accepts[name])}"
        for name, answer in expected.choice.items()
        if answer not in semantics.accepts[name]
    )
    return _no(result, Verdict.DEVIATES, "special", said)


def _with_facts(result: Result, facts: Mapping[str, str]) -> Result:
    return replace(result, facts={**result.facts, **facts})


def _no(result: Result, verdict: Verdict, check: str, detail: str, finding: Finding | None = None) -> Result:
    told = replace(result, verdict=verdict, check=check, detail=detail)
    if finding is None:
        return told
    return replace(
        told, error=finding.error, at=finding.at, got=finding.got, expected=finding.expected, precision=None
    )


def _result(
    case: Case,
    verdict: Verdict,
    check: str,
    detail: str = "",
    *,
    finding: Finding | None = None,
    facts: Mapping[str, str] | None = None,
) -> Result:
    plain = Result(case=case.id, verdict=verdict, check=check, detail=detail, facts=dict(facts or {}))
    if finding is None:
        return plain
    return replace(
        plain,
        error=finding.error,
        precision=finding.precision,
        at=finding.at,
        got=finding.got,
        expected=finding.expected,
    )
