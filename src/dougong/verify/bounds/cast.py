"""Casts are exact; only what fits no integer may be anything, where a profile says so."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dougong.backends import Array, Call
from dougong.backends.reference.cast import fits
from dougong.verify.bound import Rule


def cast(call: Call, exact: Mapping[str, Array]) -> dict[str, Rule]:
    """A rule for integers under ``integer_cast`` = ``any``; else none, so that bits decide."""
    to = str(call.get("to", "float32"))
    if call.answer_to("integer_cast") != "any" or np.dtype(exact["y"].dtype).kind not in "iu":
        return {}
    held = fits(call.inputs["x"], to)
    return {
        "y": Rule(
            holds=lambda outputs: ~held | (outputs["y"] == exact["y"]),
            says="a number that fits is cast wrongly",
        )
    }


BOUNDS = {"cast": cast}
