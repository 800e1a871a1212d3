"""The reference as a backend: every formula in float64, its result rounded once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dougong.backends.dtypes import dtype_under_test, rounded_outputs
from dougong.backends.port import Answer, Call, Unsupported
from dougong.backends.reference import FORMULAS
from dougong.ops.definitions import DEFINITIONS


class ReferenceBackend:
    """numpy in float64 on the CPU."""

    name = "reference"

    def describe(self) -> Mapping[str, str]:
        """numpy, its version, and the device."""
        return {"framework": "numpy", "numpy": np.__version__, "device": "cpu"}

    def run(self, call: Call) -> Answer:
        """Compute one operator; ``Refused`` is what the formula raises where raising is right."""
        if call.op not in FORMULAS:
            raise Unsupported(f"the reference has no {call.op}")
        with np.errstate(all="ignore"):
            exact = FORMULAS[call.op](call)
        outputs = rounded_outputs(DEFINITIONS[call.op], call, exact, dtype_under_test(call))
        return Answer(outputs=outputs, device="cpu")
