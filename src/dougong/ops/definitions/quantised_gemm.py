"""GEMM of quantised weights, activations or both."""

from __future__ import annotations

from dougong.ops.definition import FLOATS, Definition, Operand

_EIGHT_BIT = ("int8",)
_FLOAT8 = ("float8_e4m3fn", "float8_e5m2")
_OUT = {"out_dtype": "bfloat16"}

DEFINITIONS = (
    Definition(
        name="int8_matmul",
        family="quantised_gemm",
        inputs=(Operand(name="x", axes="m k", kind="int8"), Operand(name="weight", axes="n k", kind="int8")),
        outputs=(Operand(name="y", axes="m n", kind="int32"),),
        formula="y[m, n] = sum_k (x[m, k] - x_zero_point) (weight[n, k] - weight_zero_point), exact; x may be uint8",
        attributes={"x_zero_point": 0, "weight_zero_point": 0},
        dtypes=("int8", "uint8"),
    ),
    Definition(
        name="linear_w8a8",
        family="quantised_gemm",
        inputs=(
            Operand(name="x", axes="m k", kind="int8"),
            Operand(name="weight", axes="n k", kind="int8"),
            Operand(name="x_scale", axes="m", kind="float32"),
            Operand(name="weight_scale", axes="n", kind="float32"),
        ),
        outputs=(Operand(name="y", axes="m n", kind="@out_dtype"),),
        formula="y[m, n] = x_scale[m] weight_scale[n] sum_k x[m, k] weight[n, k]",
        attributes=_OUT,
        dtypes=_EIGHT_BIT,
        priced_as="gemm",
    ),
    Definition(
        name="linear_w8a16",
        family="quantised_gemm",
        inputs=(
            Operand(name="x", axes="m k"),
            Operand(name="weight", axes="n k", kind="int8"),
            Operand(name="weight_scale", axes="n"),
        ),
        outputs=(Operand(name="y", axes="m n"),),
        formula="y[m, n] = sum_k x[m, k] weight[n, k] weight_scale[n]",
        dtypes=FLOATS,
        priced_as="gemm",
    ),
    Definition(
        name="linear_w4a16",
        family="quantised_gemm",
        inputs=(
            Operand(name="x", axes="m k"),
            Operand(name="weight", axes="n k/2", kind="uint8"),
            Operand(name="weight_scale", axes="n k/group"),
            Operand(name="weight_zero_point", axes="n k/group", kind="uint8", optional=True),
        ),
        outputs=(Operand(name="y", axes="m n"),),
        formula=(
            "y[m, n] = sum_k x[m, k] (q[n, k] - z[n, k/group]) weight_scale[n, k/group]; byte j of weight holds "
            "q[2 j] in its low and q[2 j + 1] in its high four bits; z = 8 where no zero point is given"
        ),
        attributes={"group": 128},
        dtypes=FLOATS,
        priced_as="gemm",
    ),
    Definition(
        name="linear_fp8",
        family="quantised_gemm",
        inputs=(
            Operand(name="x", axes="m k", kind="float8_e4m3fn"),
            Operand(name="weight", axes="n k", kind="float8_e4m3fn"),
            Operand(name="x_scale", axes="m", kind="float32"),
            Operand(name="weight_scale", axes="n", kind="float32"),
        ),
        outputs=(Operand(name="y", axes="m n", kind="@out_dtype"),),
        formula="y[m, n] = sum_k x[m, k] x_scale[m] weight[n, k] weight_scale[n]",
        attributes=_OUT,
        dtypes=_FLOAT8,
        priced_as="gemm",
    ),
    Definition(
        name="linear_fp8_block",
        family="quantised_gemm",
        inputs=(
            Operand(name="x", axes="m k", kind="float8_e4m3fn"),
            Operand(name="weight", axes="n k", kind="float8_e4m3fn"),
            Operand(name="x_scale", axes="m k/block", kind="float32"),
            Operand(name="weight_scale", axes="n/block k/block", kind="float32"),
        ),
        outputs=(Operand(name="y", axes="m n", kind="@out_dtype"),),
        formula=(
            "y[m, n] = sum_k x[m, k] x_scale[m, k/block] weight[n, k] weight_scale[n/block, k/block]; "
            "the last block of an axis may be short"
        ),
        attributes={**_OUT, "block": 128},
        dtypes=_FLOAT8,
        priced_as="gemm",
        references=("DeepSeek-V3 Technical Report, arXiv:2412.19437, section 3.3.2",),
    ),
    Definition(
        name="linear_mxfp8",
        family="quantised_gemm",
        inputs=(
            Operand(name="x", axes="m k", kind="float8_e4m3fn"),
            Operand(name="weight", axes="n k", kind="float8_e4m3fn"),
            Operand(name="x_scale", axes="m k/32", kind="uint8"),
            Operand(name="weight_scale", axes="n k/32", kind="uint8"),
        ),
        outputs=(Operand(name="y", axes="m n", kind="@out_dtype"),),
        formula="y[m, n] = sum_k x[m, k] 2^(x_scale[m, k/32] - 127) weight[n, k] 2^(weight_scale[n, k/32] - 127)",
        attributes=_OUT,
        dtypes=_FLOAT8,
        priced_as="gemm",
        references=("OCP Microscaling Formats (MX) v1.0, sections 5.1 and 5.4",),
    ),
    Definition(
        name="linear_mxfp4",
        family="quantised_gemm",
        inputs=(
            Operand(name="x", axes="m k"),
            Operand(name="weight", axes="n k/2", kind="uint8"),
            Operand(name="weight_scale", axes="n k/32", kind="uint8"),
        ),
        outputs=(Operand(name="y", axes="m n"),),
        formula=(
            "y[m, n] = sum_k x[m, k] e2m1(q[n, k]) 2^(weight_scale[n, k/32] - 127); byte j of weight holds q[2 j] in "
            "its low and q[2 j + 1] in its high four bits"
        ),
        dtypes=FLOATS,
        priced_as="gemm",
        references=("OCP Microscaling Formats (MX) v1.0, section 5.3.3",),
    ),
    Definition(
        name="linear_nvfp4",
        family="quantised_gemm",
        inputs=(
            Operand(name="x", axes="m k"),
            Operand(name="weight", axes="n k/2", kind="uint8"),
            Operand(name="weight_scale", axes="n k/16", kind="float8_e4m3fn"),
            Operand(name="weight_scale_2", axes="", kind="float32"),
        ),
        outputs=(Operand(name="y", axes="m n"),),
        formula=(
            "y[m, n] = sum_k x[m, k] e2m1(q[n, k]) weight_scale[n, k/16] weight_scale_2; nibbles as in linear_mxfp4"
        ),
        dtypes=FLOATS,
        priced_as="gemm",
    ),
)
