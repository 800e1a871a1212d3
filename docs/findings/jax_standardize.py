"""JAX: nn.standardize takes the variance as a difference of squares; a row with a large mean loses every digit."""

import sys

import jax
import numpy as np

x = (1e4 + np.random.default_rng(0).normal(size=(1, 4096))).astype(np.float32)
y = np.asarray(jax.nn.standardize(x, axis=-1, epsilon=1e-5), np.float64)
wide = x.astype(np.float64)
right = (wide - wide.mean()) / np.sqrt(wide.var() + 1e-5)
error = np.abs(y - right).max()
print(
    f"jax {jax.__version__}: {'DEFECT' if error > 1 else 'as expected'}: error {error:.3g}, expected below 0.1"
)
sys.exit(1 if error > 1 else 0)
