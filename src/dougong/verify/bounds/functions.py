r"""What a function may be off by: a stated number of units in the last place.

Notes
-----
One unit in the last place of ``y`` with ``p`` bits is :math:`2^{\lfloor \log_2 |y| \rfloor + 1 - p}`, which is
:math:`2 u_a 2^{\lfloor \log_2 |y| \rfloor}`: so ``k`` units are ``u_a`` times :func:`ulps` of ``k``. The counts are
maxima, hence the same in the RMS and in the worst gate.

References
----------
Khronos, The OpenCL C Specification 3.0, section 7.4, table "ULP values for single precision built-in math functions"
(full profile). ``sigmoid`` and ``softplus`` are not in it: see :mod:`dougong.verify.bounds.elementary`.
"""

from __future__ import annotations

import numpy as np

from dougong.verify.bound import Bound, Floats

ULPS = {
    "exp": 3.0,
    "exp2": 3.0,
    "expm1": 3.0,
    "log": 3.0,
    "log2": 3.0,
    "log1p": 2.0,
    "sin": 4.0,
    "cos": 4.0,
    "tanh": 5.0,
    "erf": 16.0,
    "sqrt": 3.0,
    "rsqrt": 2.0,
    "reciprocal": 2.5,
    "divide": 2.5,
    "power": 16.0,
}
"""Units in the last place, by function."""

UNDERFLOW = 2.0**-126
"""An intermediate below the smallest normal float32 may become zero: so much is lost absolutely."""


def ulps(count: float, value: Floats) -> Floats:
    """Return ``count`` units in the last place of ``value``, over the unit roundoff of the computing precision."""
    finite = np.where(np.isfinite(value), value, 1.0)
    exponent = np.frexp(np.maximum(np.abs(finite), UNDERFLOW))[1] - 1
    return 2.0 * count * np.exp2(exponent.astype(np.float64))


def computed(error: Floats, floor: Floats | float = 0.0) -> Bound:
    """Bound of a value whose error is ``error`` unit roundoffs in both gates; nothing is a product of inputs."""
    zero = np.zeros(())
    return Bound(
        accumulate_rms=error,
        accumulate_worst=error,
        product_rms=zero,
        product_worst=zero,
        floor=np.asarray(floor, np.float64),
    )
