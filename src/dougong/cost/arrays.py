"""The one array function whose type the checker cannot infer for numbers and arrays alike."""

from __future__ import annotations

from typing import cast

import numpy as np

from dougong.ops.operators import Number


def choose(condition: Number, yes: Number, no: Number) -> Number:
    """``yes`` where ``condition`` holds, else ``no``; numbers and arrays broadcast."""
    return cast(Number, np.where(condition, yes, no))
