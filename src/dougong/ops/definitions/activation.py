"""Activations of feed-forward layers."""

from __future__ import annotations

from collections.abc import Mapping

from dougong.ops.definition import Definition, Operand, Special

_LIMIT = Special(when="x = -inf", then="0, the limit, or NaN", switch="activation_limit")
_NAN = Special(when="x is NaN", then="NaN")


def _plain(name: str, formula: str, *references: str, limit: bool = True) -> Definition:
    return Definition(
        name=name,
        family="activation",
        inputs=(Operand(name="x", axes="m f"),),
        outputs=(Operand(name="y", axes="m f"),),
        formula=f"y[m, f] = {formula}",
        specials=(_NAN, _LIMIT) if limit else (_NAN,),
        priced_as="elementwise",
        references=references,
    )


def _gated(name: str, formula: str, attributes: Mapping[str, object], *references: str) -> Definition:
    return Definition(
        name=name,
        family="activation",
        inputs=(Operand(name="x", axes="m 2f"),),
        outputs=(Operand(name="y", axes="m f"),),
        formula=formula,
        attributes=attributes,
        specials=(_NAN,),
        priced_as="elementwise",
        references=references,
    )


_PACKED = "g, u the halves of x, or its even and odd columns where interleaved"

DEFINITIONS = (
    _plain("silu", "x / (1 + e ** -x)", "Elfwing et al., arXiv:1702.03118"),
    _plain("gelu_erf", "x (1 + erf(x / 2**0.5)) / 2", "Hendrycks, Gimpel, arXiv:1606.08415"),
    _plain(
        "gelu_tanh",
        "x (1 + tanh((2 / pi)**0.5 (x + 0.044715 x**3))) / 2",
        "Hendrycks, Gimpel, arXiv:1606.08415",
    ),
    _plain("relu", "max(x, 0)", limit=False),
    _plain("relu_squared", "max(x, 0) ** 2", "So et al., arXiv:2109.08668", limit=False),
    _gated("swiglu", f"y = silu(g) u; {_PACKED}", {"interleaved": False}, "Shazeer, arXiv:2002.05202"),
    _gated(
        "geglu_tanh", f"y = gelu_tanh(g) u; {_PACKED}", {"interleaved": False}, "Shazeer, arXiv:2002.05202"
    ),
    _gated(
        "swiglu_clamped",
        f"y = g' sigmoid(alpha g') (u' + 1), g' = min(g, limit), u' = min(max(u, -limit), limit); {_PACKED}",
        {"interleaved": True, "alpha": 1.702, "limit": 7.0},
        "gpt-oss model card, arXiv:2508.10925, section 2.2",
    ),
)
