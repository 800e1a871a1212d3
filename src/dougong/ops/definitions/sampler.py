"""Sampling of a token, step by step, and the random numbers beneath it."""

from __future__ import annotations

from dougong.ops.definition import Definition, Operand, Special

_LOGITS = Operand(name="logits", axes="m n", kind="float32")
_OUT = Operand(name="y", axes="m n", kind="float32")
_TEMPERATURE = Operand(name="temperature", axes="m", kind="float32")
_TOP_K = Operand(name="top_k", axes="m", kind="int64", optional=True)
_TOP_P = Operand(name="top_p", axes="m", kind="float32", optional=True)
_MIN_P = Operand(name="min_p", axes="m", kind="float32", optional=True)
_FILTERS = (_LOGITS, _TEMPERATURE, _TOP_K, _TOP_P, _MIN_P)
_NUCLEUS = "Holtzman et al., The curious case of neural text degeneration, arXiv:1904.09751"
_KEPT = (
    "kept: the top_k largest (all where top_k <= 0), of these the fewest largest whose probability reaches top_p, "
    "of these those with at least min_p times the largest probability"
)


def _random(name: str, formula: str) -> Definition:
    return Definition(
        name=name,
        family="sampler",
        inputs=(Operand(name="seed", axes="", kind="int64"),),
        outputs=(Operand(name="y", axes="n"),),
        formula=f"{formula}; the same seed gives the same numbers",
        attributes={"n": 1, "dtype": "float32"},
    )


DEFINITIONS = (
    Definition(
        name="apply_penalties",
        family="sampler",
        inputs=(
            _LOGITS,
            Operand(name="prompt", axes="m p", kind="int64"),
            Operand(name="output", axes="m q", kind="int64"),
            Operand(name="repetition", axes="m", kind="float32"),
            Operand(name="presence", axes="m", kind="float32"),
            Operand(name="frequency", axes="m", kind="float32"),
        ),
        outputs=(_OUT,),
        formula="of tokens in prompt or output: logits / repetition where positive, else logits repetition; then less "
        "frequency times their count in output, less presence where that is not 0",
        specials=(Special(when="a token is -1", then="padding"),),
        references=("Keskar et al., CTRL, arXiv:1909.05858, section 4.1 (repetition)",),
    ),
    Definition(
        name="logit_bias",
        family="sampler",
        inputs=(
            _LOGITS,
            Operand(name="ids", axes="m b", kind="int64"),
            Operand(name="bias", axes="m b", kind="float32"),
        ),
        outputs=(_OUT,),
        formula="y = logits, plus bias[m, b] at ids[m, b]",
        specials=(
            Special(when="bias = -inf", then="-inf"),
            Special(when="ids = -1", then="padding"),
        ),
    ),
    Definition(
        name="filter_probabilities",
        family="sampler",
        inputs=_FILTERS,
        outputs=(Operand(name="p", axes="m n", kind="float32"),),
        formula=f"p = softmax(logits / temperature) of what is kept, 0 elsewhere; {_KEPT}",
        specials=(
            Special(when="temperature is below 1e-5", then="1 at the largest logit, the first of equal ones"),
            Special(when="top_k = 1, or top_p near 0", then="1 at the largest logit"),
        ),
        references=(_NUCLEUS,),
    ),
    Definition(
        name="sample",
        family="sampler",
        inputs=(*_FILTERS, Operand(name="seeds", axes="m", kind="int64")),
        outputs=(Operand(name="tokens", axes="m draws", kind="index"),),
        formula="tokens[m, :] drawn independently from p[m] of filter_probabilities, by a generator of seeds[m]",
        attributes={"draws": 1},
        specials=(
            Special(when="temperature is below 1e-5", then="the largest logit"),
            Special(when="the same seed", then="the same tokens, whatever else is in the batch"),
        ),
        references=(_NUCLEUS,),
    ),
    Definition(
        name="rejection_sample",
        family="sampler",
        inputs=(
            Operand(name="draft", axes="m s", kind="int64"),
            Operand(name="draft_p", axes="m s n", kind="float32"),
            Operand(name="target_p", axes="m s+1 n", kind="float32"),
            Operand(name="uniform", axes="m s", kind="float32"),
            Operand(name="exponential", axes="m s+1 n", kind="float32"),
        ),
        outputs=(Operand(name="tokens", axes="m s+1", kind="index"),),
        formula="draft[m, s] accepted while uniform[m, s] draft_p <= target_p of it; then one token, the largest of "
        "residual / exponential, residual = max(target_p - draft_p, 0), or target_p after all; then -1",
        references=("Leviathan et al., Speculative decoding, arXiv:2211.17192, algorithm 1",),
    ),
    _random("random_uniform", "y[n] independent and uniform in [0, 1)"),
    _random("random_normal", "y[n] independent and standard normal"),
    _random("random_exponential", "y[n] independent and standard exponential, greater than 0"),
)
