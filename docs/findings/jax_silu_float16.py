"""JAX on CPU: nn.silu of float16 below -11.09 is 0, because the exponential of its sigmoid is taken in float16."""

import sys

import jax
import numpy as np

x = np.array([-11.0, -11.25, -12.0, -14.0], np.float16)
y = np.asarray(jax.jit(jax.nn.silu)(x))
wide = x.astype(np.float64)
right = (wide / (1 + np.exp(-wide))).astype(np.float16)
there = bool((y[1:] == 0).any())
print(
    f"jax {jax.__version__}: {'DEFECT' if there else 'as expected'}: got {y.tolist()}, expected {right.tolist()}"
)
sys.exit(1 if there else 0)
