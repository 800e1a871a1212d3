"""Takes one case apart: what was asked of the planner, where its time goes, and what would match the measurement."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dougong.backtest.case import AnyCase, Case
from dougong.backtest.questions import Ask, PlanPredictor
from dougong.backtest.run import Outcome, run
from dougong.backtest.views import Match, View
from dougong.calibration import Parameters
from dougong.calibration.engines import EngineClass, engine_classes
from dougong.catalog.store import Catalog
from dougong.cost.machine import machine_of
from dougong.cost.step import Pricer
from dougong.plan.evaluate import evaluate, prepare
from dougong.plan.question import Answer
from dougong.plan.types import Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One case, predicted and taken apart."""

    case: AnyCase
    outcomes: tuple[Outcome, ...]
    model: str = ""  # record that was priced
    precision: str = ""
    pools: tuple[Pool, ...] = ()
    limits: tuple[str, ...] = ()  # what holds the run back, in sentences
    matches: tuple[Match, ...] = ()

    @property
    def refused(self) -> str | None:
        """Why nothing was predicted; None if something was."""
        return None if any(o.predicted for o in self.outcomes) else self.outcomes[0].refused


def explain(
    case: AnyCase,
    catalog: Catalog,
    parameters: Parameters | None = None,
    engines: Mapping[str, EngineClass] | None = None,
) -> Explained:
    """Predict a case and take the prediction apart; an operator case, or a refused one, has no parts."""
    parameters, engines = parameters or Parameters.load(), engines or engine_classes()
    predictor = PlanPredictor(catalog, parameters, engines)
    outcomes = tuple(run([case], predictor))
    asked = predictor.gather([case] if isinstance(case, Case) else [])
    if not asked.asks or not any(outcome.predicted for outcome in outcomes):
        return Explained(case=case, outcomes=outcomes)
    asks = [ask for _, ask in asked.asks]
    answers = evaluate([ask.question for ask in asks], asked.models, asked.systems, parameters, engines)
    views: list[View] = []
    for ask, given in counted(list(zip(asks, answers, strict=True))):
        (program,) = prepare([ask.question], asked.models, asked.systems)
        pricer = Pricer(
            precise=program.precise,
            machine=machine_of(asked.systems[ask.question.system]),
            parameters=parameters,
            engine=ask.question.of(engines[ask.question.engine]),
            imbalance=ask.question.imbalance,
            draft_tokens=ask.question.draft_tokens,
        )
        views.append(View.of(ask, given, pricer, program.shape))
    precise = views[0].pricer.precise
    told = [(view, outcome) for outcome in outcomes for view in views if outcome.metric in view.ask.metrics]
    return Explained(
        case=case,
        outcomes=outcomes,
        model=precise.model.id,
        precision=precise.note,
        pools=tuple(pool for view in views for pool in view.pools),
        limits=tuple(said for view in views for said in view.limits()),
        matches=tuple(view.match(outcome) for view, outcome in told if outcome.predicted),
    )


def counted(pairs: Sequence[tuple[Ask, Answer]]) -> list[tuple[Ask, Answer]]:
    """The questions whose answers became the prediction: of a ladder of batches, the last within its limit."""
    ladder = [pair for pair in pairs if pair[0].limit_s is not None]
    within = [pair for pair in ladder if (pair[1].tpot_s or math.inf) <= (pair[0].limit_s or 0.0)]
    return [pair for pair in pairs if pair[0].limit_s is None] + (within[-1:] or ladder[:1])
