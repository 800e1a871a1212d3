"""Engine classes: what a serving stack adds to, or loses against, well-written kernels.

An engine class is explicit and chosen by the user: an early port is not hidden in the chip's figures. Parameters
are physical and shared by every case of the class; ``engines.toml`` gives each with its residual.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields, replace
from functools import cache

from dougong.calibration.parameters import Parameters, data_file
from dougong.errors import UnknownId

_STARTUPS = (
    "gemm_fixed_s",
    "gemm_depth_s",
    "elementwise_fixed_s",
    "decode_attention_fixed_s",
    "latent_attention_fixed_s",
    "prefill_attention_fixed_s",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineClass:
    """One class of serving stacks.

    Attributes
    ----------
    step_s
        Host work per step that is not hidden: scheduling, launching, sampling [s].
    prefill_s
        Host work of a step with prompt tokens, which captured graphs do not cover, beyond ``step_s`` [s].
    layer_s
        Gaps between the kernels of one layer [s].
    sequence_s
        Host work per decoding sequence and step [s].
    request_s
        Work once per request before its first step: tokenising, scheduling, HTTP [s].
    compute_slowdown, memory_slowdown, link_slowdown
        Time of compute-, memory- and link-bound work over that of the kernels in the operator data [1].
    expert_slowdown
        Compute time of routed experts over that of well-written grouped kernels, beyond ``compute_slowdown`` [1].
    fixed_frac
        Share of a kernel's stand-alone start-up and of its walk along ``k`` that is left in captured graphs, with
        fused neighbours and kernels that split ``k`` [1].
    overlap_frac
        Of the shorter of compute and expert exchange, the share that two micro-batches hide [1].
    imbalance
        Load of the busiest expert device over the mean [1].
    prefill_step_tokens
        Prompt tokens one attention group takes into one step [token].
    widening_frac
        Share of the compute rate left where weights are widened on their way into the multiplication [1].
    lockstep_frac
        How far attention groups, which step together, take prompts in steps of their own: 0 is together, 1 is
        each when it comes [1].
    micro_batches
        Whether the stack runs a step as two micro-batches, one's exchange behind the other's compute, where it pays.
    memory_frac
        Share of device memory the engine may take [1].
    graph_bytes
        Captured graphs and runtime of one process [byte].
    """

    id: str
    title: str
    examples: str
    step_s: float
    prefill_s: float
    layer_s: float
    sequence_s: float
    request_s: float
    compute_slowdown: float
    memory_slowdown: float
    link_slowdown: float
    overlap_frac: float
    imbalance: float
    prefill_step_tokens: float
    memory_frac: float
    graph_bytes: float
    fixed_frac: float = 1.0
    widening_frac: float = 1.0
    lockstep_frac: float = 0.0
    expert_slowdown: float = 1.0
    micro_batches: bool = False

    def in_graph(self, p: Parameters) -> Parameters:
        """Operator parameters with the start-up that this class leaves of stand-alone kernels."""
        return replace(p, **{name: getattr(p, name) * self.fixed_frac for name in _STARTUPS})


def engine_classes() -> dict[str, EngineClass]:
    """Every engine class of the shipped calibration, by id."""
    return _read("engines.toml")


def engine_starts() -> dict[str, EngineClass]:
    """Engine classes before any fit: what the fit is pulled to."""
    return _read("engine-starts.toml")


@cache
def _read(name: str) -> dict[str, EngineClass]:
    text = data_file(name)
    names = {field.name for field in fields(EngineClass)} - {"id"}
    return {
        key: EngineClass(id=key, **{name: value for name, value in raw.items() if name in names})
        for key, raw in tomllib.loads(text)["engine"].items()
    }


def engine_class(name: str) -> EngineClass:
    """Look up an engine class.

    Raises
    ------
    UnknownId
        With the near names.
    """
    classes = engine_classes()
    if name not in classes:
        raise UnknownId("engine class", name, classes, hint=f"one of: {', '.join(sorted(classes))}")
    return classes[name]
