"""Answers published ablations: the same deployment priced with and without one feature.

References
----------
arXiv 2506.12708, section 5.4: DeepSeek-R1 in INT8 on CloudMatrix384, decode over 320 dies and prefill over
32, prompts of 4,096 tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dougong.backtest.case import OperatorCase
from dougong.calibration import Parameters
from dougong.calibration.engines import EngineClass, engine_classes
from dougong.catalog.store import Catalog
from dougong.plan.evaluate import Question, evaluate
from dougong.plan.types import Interval, Layout

_DECODE = Question(
    model="", system="cloudmatrix384", mode="decode", decode=Layout(attn_dp=320, ep=320), prompt_tokens=4096,
    output_tokens=256, precision="int8", engine="vendor-tuned", draft_tokens=1, acceptance=0.7, micro_batches=True,
)  # fmt: skip
_PREFILL = Question(
    model="", system="cloudmatrix384", mode="prefill", prefill=Layout(attn_dp=32, ep=32), prompt_tokens=4096,
    output_tokens=1, precision="int8", engine="vendor-tuned", step_tokens=8192, micro_batches=True,
)  # fmt: skip
_BATCHES = (4.0, 8.0, 16.0, 32.0, 48.0, 64.0)  # sequences per die: the paper's 8 to 128 per package
_PROMPTS = (1024.0, 2048.0, 4096.0, 8192.0)
_Switch = Callable[[Question], Question]


@dataclass(slots=True)
class AblationPredictor:
    """Prices gains of micro-batches, of a drafted token and of prefix reuse."""

    catalog: Catalog
    parameters: Parameters = field(default_factory=Parameters.load)
    engines: Mapping[str, EngineClass] = field(default_factory=engine_classes)

    def __call__(self, case: OperatorCase) -> Mapping[str, Interval] | str:
        """Predict one ablation; those of other deployments are refused."""
        if case.chip != "huawei-910c" or "R1" not in case.words.get("model", ""):
            return "the deployment of this ablation is not on record"
        gains = self._gains(case)
        if gains is None:
            return f"no way to switch off {case.op.removeprefix('ablation_')}"
        spread = {
            "gain_frac": gains[0] - 1,
            "gain_low_frac": min(gains) - 1,
            "gain_high_frac": max(gains) - 1,
            "speedup_ratio": gains[0],
        }
        # No residual exists for a ratio of two predictions; half and double are printed as what they are.
        return {
            metric: Interval(value, value / 2, value * 2)
            for metric, value in spread.items()
            if metric in case.measured
        }

    def _gains(self, case: OperatorCase) -> list[float] | None:
        if case.op == "ablation_decode_microbatch":
            batch = case.shape["batch"] / 2.0
            return self._ratios([replace(_DECODE, batch=batch)], _serial)
        if case.op == "ablation_prefill_microbatch":
            return self._ratios([replace(_PREFILL, prompt_tokens=tokens) for tokens in _PROMPTS], _serial)
        if case.op == "ablation_mtp":
            with_draft = [replace(_DECODE, batch=batch) for batch in _BATCHES]
            return self._ratios(with_draft, lambda question: replace(question, draft_tokens=0))
        if case.op == "ablation_context_cache":
            reused = replace(_PREFILL, prefix_hit_frac=case.shape["reuse"])
            return self._ratios([reused], lambda question: replace(question, prefix_hit_frac=0.0))
        return None

    def _ratios(self, questions: Sequence[Question], without: _Switch) -> list[float]:
        """Rate with the feature over the rate without it, per question."""
        model, system = self.catalog.model("deepseek-r1"), self.catalog.system("cloudmatrix384")
        asked = [replace(question, model=model.id) for question in questions]
        answers = evaluate(
            [*asked, *(without(question) for question in asked)],
            {model.id: model}, {"cloudmatrix384": system}, self.parameters, self.engines,
        )  # fmt: skip
        rates = [
            answer.decode_tokens_per_s_per_chip or answer.prefill_tokens_per_s_per_chip or 0.0
            for answer in answers
        ]
        return [
            first / second for first, second in zip(rates[: len(asked)], rates[len(asked) :], strict=True)
        ]


def _serial(question: Question) -> Question:
    return replace(question, micro_batches=False)
