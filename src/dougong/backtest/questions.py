"""Puts published cases to the planner: the same formulas as the search, asked about one deployment."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from dougong.backtest.ablations import AblationPredictor
from dougong.backtest.case import AnyCase, Case, OperatorCase, PhaseLayout, Precision
from dougong.backtest.operator_predictor import OperatorPredictor
from dougong.calibration import Parameters
from dougong.calibration.engines import EngineClass, engine_classes
from dougong.calibration.intervals import band, kind_of
from dougong.catalog.hardware import System
from dougong.catalog.models import Model
from dougong.catalog.store import Catalog
from dougong.cost.machine import machine_of
from dougong.cost.precision import Recipe
from dougong.errors import CatalogError, InputError, UnknownId
from dougong.plan.evaluate import Answer, Question, evaluate, prepare
from dougong.plan.types import Interval

DEFAULT_ACCEPTANCE = 0.7
"""Of a drafted token where none is stated: DeepSeek-R1's own module in arXiv 2506.12708, section 5."""

DEFAULT_WAVES = 10.0
"""Requests of a run over those in flight where nothing is said: what InferenceX and most load generators send."""

_PHASE_METRICS = ("prefill_tokens_per_s_per_chip", "decode_tokens_per_s_per_chip")
_LIMITED_BATCHES = tuple(
    round(2 ** (step / 3), 3) for step in range(34)
)  # 1 to 2,048 sequences in 26 % steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One question of a case and the metrics its answer is read for."""

    question: Question
    metrics: tuple[str, ...]
    limit_s: float | None = (
        None  # TPOT limit: the question stands in a ladder of batches, the last legal one counts
    )


def asks_of(case: Case, model: str) -> list[Ask]:
    """The questions that answer a serving case.

    Parameters
    ----------
    case
        A case that its record does not refuse.
    model
        Catalog id of the model in the case's precision.

    Notes
    -----
    A source that measures prefill and decode one at a time gets one question per phase; one that prints a
    prefill rate beside end-to-end figures gets a prefill question for it. Where only a TPOT limit tells the
    load, a ladder of batches is asked and the largest that keeps the limit counts.
    """
    metrics = tuple(case.measured)
    base = _common(case, model)
    if case.regime == "prefill":
        return [Ask(question=_prefill(base, case), metrics=metrics)]
    phases = tuple(metric for metric in metrics if metric in _PHASE_METRICS)
    if set(case.layouts) == {"decode"} or (phases == metrics and "prefill" in case.layouts):
        apart = _PHASE_METRICS[0] in phases
        asks = [Ask(question=_prefill(base, case), metrics=_PHASE_METRICS[:1])] if apart else []
        rest = tuple(metric for metric in metrics if metric != _PHASE_METRICS[0])
        return asks + _ladder(_decode(base, case), rest, case)
    whole = _whole(base, case)
    rest = metrics if whole.mode == "disaggregated" else tuple(m for m in metrics if m != _PHASE_METRICS[0])
    asks = _ladder(whole, rest, case) if rest else []
    if len(rest) < len(metrics):
        asks.append(Ask(question=_prefill(base, case), metrics=_PHASE_METRICS[:1]))
    return asks


def _common(case: Case, model: str) -> Question:
    prompt, output = case.prompt_tokens or case.context_tokens or 1, case.output_tokens or 1
    users = case.concurrency
    burst = users is None and case.saturated and case.requests is not None
    if burst:
        users = case.requests
    return Question(
        model=model,
        system=case.system,
        mode="colocated",
        prompt_tokens=prompt,
        output_tokens=max(output, 1),
        prefix_hit_frac=min(case.prefix_hit_frac or 0.0, 0.999),
        context_tokens=case.context_tokens,
        users=users,
        saturated=case.saturated and users is None,
        waves=_waves(case, burst),
        step_tokens=case.prefill_batch_tokens,
        precision=recipe_of(case.precision),
        kv_dtype=case.precision.kv,
        engine=case.engine_class,
        imbalance=1.0 if case.balanced_experts else None,
        micro_batches=case.micro_batches,
        draft_tokens=case.draft_tokens,
        acceptance=DEFAULT_ACCEPTANCE if case.acceptance is None else case.acceptance,
    )


def _waves(case: Case, burst: bool) -> float:
    if burst:
        return 1.0
    return case.requests / case.concurrency if case.requests and case.concurrency else DEFAULT_WAVES


def recipe_of(precision: Precision) -> str | Recipe:
    """The recipe of a case's precision; the checkpoint's own where it says nothing."""
    words = (precision.weights, precision.experts, precision.activations)
    return "native" if words == (None, None, None) else Recipe(*words, "as the published case states")


def _prefill(base: Question, case: Case) -> Question:
    placed = case.layouts.get("prefill") or case.layouts["all"]
    return replace(
        base,
        mode="prefill",
        prefill=placed.layout,
        prefill_replicas=placed.replicas,
        saturated=False,
        draft_tokens=0,
        context_tokens=None,
    )


def _decode(base: Question, case: Case) -> Question:
    placed = case.layouts.get("decode") or case.layouts["all"]
    question = replace(base, mode="decode", decode=placed.layout, decode_replicas=placed.replicas)
    return replace(question, batch=_group_batch(case, placed))


def _whole(base: Question, case: Case) -> Question:
    placed = case.layouts.get("all") or case.layouts["decode"]
    question = replace(
        base, decode=placed.layout, decode_replicas=placed.replicas, batch=_group_batch(case, placed)
    )
    if "prefill" in case.layouts:
        before = case.layouts["prefill"]
        question = replace(
            question, mode="disaggregated", prefill=before.layout, prefill_replicas=before.replicas
        )
    return question


def _group_batch(case: Case, placed: PhaseLayout) -> float | None:
    if case.batch_per_device is None:
        return None
    return case.batch_per_device * placed.layout.tp * placed.layout.cp


def _ladder(question: Question, metrics: tuple[str, ...], case: Case) -> list[Ask]:
    limit = case.limits.get("tpot_s")
    loaded = question.users is not None or question.batch is not None or question.saturated
    if loaded or limit is None:
        return [Ask(question=question, metrics=metrics)]
    return [
        Ask(question=replace(question, batch=batch), metrics=metrics, limit_s=limit)
        for batch in _LIMITED_BATCHES
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Questions of many cases with the records they need, and the cases that cannot be asked."""

    models: Mapping[str, Model]
    systems: Mapping[str, System]
    asks: tuple[tuple[Case, Ask], ...]
    refused: Mapping[str, str]


@dataclass(slots=True)
class PlanPredictor:
    """Answers cases with the planner; every case of a list at once, so that formulas run as array programs.

    Call :meth:`prepare` with all cases first; a case that was not prepared is answered on its own.
    """

    catalog: Catalog
    parameters: Parameters = field(default_factory=Parameters.load)
    engines: Mapping[str, EngineClass] = field(default_factory=engine_classes)
    answers: dict[str, Mapping[str, Interval] | str] = field(
        default_factory=dict[str, Mapping[str, Interval] | str]
    )
    checkpoints: dict[tuple[str, str | None, str | None], tuple[Model, bool]] = field(
        default_factory=dict[tuple[str, str | None, str | None], tuple[Model, bool]]
    )  # (model, experts, activations) -> record, and whether it is quantised so

    def __call__(self, case: AnyCase) -> Mapping[str, Interval] | str:
        """Predict one case."""
        if case.id not in self.answers:
            self.prepare([case])
        return self.answers[case.id]

    def prepare(self, cases: Iterable[AnyCase]) -> None:
        """Answer all cases; a case that cannot be asked keeps the reason as its answer."""
        cases = list(cases)
        for case in cases:
            if isinstance(case, OperatorCase):
                self.answers[case.id] = case.refused or self._operator(case)
        found = self.gather(case for case in cases if isinstance(case, Case))
        self.answers |= found.refused
        questions = [ask.question for _, ask in found.asks]
        self.answers |= {case.id: {} for case, _ in found.asks}
        given = evaluate(questions, found.models, found.systems, self.parameters, self.engines)
        for (case, ask), answer in zip(found.asks, given, strict=True):
            self._keep(case, ask, answer)
        for case, _ in found.asks:
            self._name_unknown_links(case, found.systems[case.system])

    def gather(self, cases: Iterable[Case]) -> Asked:
        """Find the records of cases and turn them into questions, without answering any.

        Raises
        ------
        CatalogError
            If a record is broken; everything else that stands in the way refuses its case.
        """
        models: dict[str, Model] = {}
        systems: dict[str, System] = {}
        asks: list[tuple[Case, Ask]] = []
        refused: dict[str, str] = {}
        faults: dict[tuple[str, str, str, str | None], str | None] = {}
        for case in cases:
            if case.refused is not None:
                refused[case.id] = case.refused
                continue
            try:
                model, case = self._model(case)
                if case.system not in systems:
                    systems[case.system] = self.catalog.system(case.system)
                models[model.id] = model
                mine = asks_of(case, model.id)
            except CatalogError:
                raise  # a broken record is no refusal
            except InputError as error:
                refused[case.id] = error.message
                continue
            for ask in mine:
                question = ask.question
                key = (question.model, question.system, str(question.precision), question.kv_dtype)
                if key not in faults:
                    faults[key] = _unaskable(question, models, systems)
                fault = faults[key]
                if fault is None:
                    asks.append((case, ask))
                else:
                    refused[case.id] = fault
        return Asked(models=models, systems=systems, asks=tuple(asks), refused=refused)

    def _operator(self, case: OperatorCase) -> Mapping[str, Interval] | str:
        if not case.op.startswith("ablation"):
            return OperatorPredictor(self.catalog, self.parameters)(case)
        try:
            return AblationPredictor(self.catalog, self.parameters, self.engines)(case)
        except InputError as error:
            return error.message

    def _model(self, case: Case) -> tuple[Model, Case]:
        """The model, in a published checkpoint of the precision where the catalog has one."""
        precision = case.precision
        key = (case.model, precision.experts, precision.activations)
        if key not in self.checkpoints:
            self.checkpoints[key] = self._checkpoint(case)
        model, native = self.checkpoints[key]
        return model, replace(case, precision=Precision(kv=precision.kv)) if native else case

    def _checkpoint(self, case: Case) -> tuple[Model, bool]:
        """The model's record, and whether it is quantised as the case is."""
        model, experts = self.catalog.model(case.model), case.precision.experts
        if experts != case.precision.activations:
            return model, False
        if experts == "fp8_e4m3" == model.activation_dtype:
            return model, True
        kind = {"nvfp4": "nvfp4", "fp8_e4m3": "fp8"}.get(experts or "")
        # A dated revision is quantised as its family is.
        for name in (model.id, re.sub(r"-[0-9]{4}$", "", model.id)) if kind else ():
            try:
                return self.catalog.model(f"{name}-{kind}"), True
            except UnknownId:
                continue
        return model, False

    def _name_unknown_links(self, case: Case, system: System) -> None:
        """A prediction that is no number, because a link on its way has no published bandwidth, says so."""
        given = self.answers[case.id]
        if isinstance(given, str) or all(math.isfinite(guess.value) for guess in given.values()):
            return
        holes = [hole.reason for hole in machine_of(system).unknown_links.values()]
        why = f"a link bandwidth is unknown ({'; '.join(holes)})" if holes else "the formulas give no number"
        self.answers[case.id] = f"{system.id}: {why}"

    def _keep(self, case: Case, ask: Ask, answer: Answer) -> None:
        kept = self.answers[case.id]
        if isinstance(kept, str):
            return
        if ask.limit_s is not None and kept and not (answer.tpot_s or math.inf) <= ask.limit_s:
            return  # the ladder climbs: the last batch within the limit stays
        fresh: dict[str, Interval] = {}
        for metric in ask.metrics:
            value = getattr(answer, metric)
            if value is not None:
                ends = band(kind_of(metric), case.engine_class, case.chip)
                fresh[metric] = Interval(value, value * ends.low, value * ends.high)
        self.answers[case.id] = {**kept, **fresh}


def _unaskable(question: Question, models: Mapping[str, Model], systems: Mapping[str, System]) -> str | None:
    """Why the formulas cannot be asked: a figure that is unknown, a dtype the chip has no rate for."""
    try:
        prepare([question], models, systems)
    except InputError as error:
        return error.message
    return None
