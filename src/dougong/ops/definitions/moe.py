"""Mixture of experts: routing, permutation, expert layers and their combination."""

from __future__ import annotations

from dougong.ops.definition import Definition, Operand, Special

_IDS = Operand(name="ids", axes="t k", kind="index")
_WEIGHTS = Operand(name="weights", axes="t k", kind="float32")
_TIES = Special(when="scores are equal", then="the lowest expert first", switch="tie_order")
_ROUTED = (_WEIGHTS, _IDS)

DEFINITIONS = (
    Definition(
        name="route_softmax",
        family="moe",
        inputs=(Operand(name="logits", axes="t e"),),
        outputs=_ROUTED,
        formula="p = softmax(logits[t]) in float32; ids[t] the top_k of p from the largest down, weights[t] theirs, "
        "divided by their sum where renormalise",
        attributes={"top_k": 8, "renormalise": True},
        specials=(_TIES,),
        references=("Qwen3 technical report, arXiv:2505.09388, section 2",),
    ),
    Definition(
        name="route_sigmoid",
        family="moe",
        inputs=(Operand(name="logits", axes="t e"), Operand(name="bias", axes="e", kind="float32")),
        outputs=_ROUTED,
        formula="s = sigmoid(logits[t]) in float32, c = s + bias; of `groups` equal groups the `top_groups` with the "
        "largest sum of their two largest c; ids[t] the top_k of c in those from the largest down; weights[t] = "
        "scaling s[ids[t]], divided by their sum + 1e-20 where renormalise",
        attributes={"top_k": 8, "groups": 1, "top_groups": 1, "renormalise": True, "scaling": 1.0},
        specials=(_TIES, Special(when="all scores are 0", then="weights 0, not NaN")),
        references=("DeepSeek-V3 technical report, arXiv:2412.19437, section 2.1.2",),
    ),
    Definition(
        name="moe_permute",
        family="moe",
        inputs=(Operand(name="x", axes="t h"), _IDS),
        outputs=(
            Operand(name="rows", axes="t*k h", kind="=x"),
            Operand(name="source", axes="t*k", kind="index"),
            Operand(name="counts", axes="e", kind="index"),
        ),
        formula="rows = x[source // k], source the pairs t k + j in the order of ids[t, j], equal ones as they come; "
        "counts[e] = pairs of expert e",
        attributes={"experts": 8},
    ),
    Definition(
        name="moe_combine",
        family="moe",
        inputs=(
            Operand(name="rows", axes="t*k h"),
            Operand(name="source", axes="t*k", kind="index"),
            _WEIGHTS,
        ),
        outputs=(Operand(name="y", axes="t h"),),
        formula="y[t] = sum_j weights[t, j] rows[where source = t k + j]",
    ),
    Definition(
        name="grouped_linear",
        family="moe",
        inputs=(
            Operand(name="x", axes="t k"),
            Operand(name="weight", axes="e n k"),
            Operand(name="counts", axes="e", kind="index"),
        ),
        outputs=(Operand(name="y", axes="t n"),),
        formula="y[t] = weight[e] x[t], the first counts[0] rows with e = 0, the next counts[1] with e = 1, …",
        specials=(Special(when="counts[e] = 0", then="no row"),),
        priced_as="grouped_gemm",
    ),
    Definition(
        name="moe",
        family="moe",
        inputs=(
            Operand(name="x", axes="t h"),
            _IDS,
            _WEIGHTS,
            Operand(name="gate_up", axes="e 2f h"),
            Operand(name="down", axes="e h f"),
            Operand(name="shared_gate_up", axes="2g h", optional=True),
            Operand(name="shared_down", axes="h g", optional=True),
        ),
        outputs=(Operand(name="y", axes="t h"),),
        formula="y[t] = sum_j weights[t, j] down[e] swiglu(gate_up[e] x[t]), e = ids[t, j], and the shared expert's",
        attributes={"ranks": 1},
        specials=(
            Special(when="ids[t, j] = -1", then="that pair counts nothing"),
            Special(when="no token visits an expert", then="nothing"),
        ),
        priced_as="grouped_gemm",
    ),
)
