"""JAX on CPU: jnp.cumsum of bfloat16 keeps its partial sums in bfloat16, so that a running sum is off by a percent."""

import sys

import jax
import jax.numpy as jnp
import numpy as np

x = jnp.asarray(np.random.default_rng(0).uniform(0.5, 1.5, (4, 1000)), jnp.bfloat16)
y = np.asarray(jax.jit(lambda a: jnp.cumsum(a, axis=-1))(x).astype(jnp.float32))
right = np.cumsum(np.asarray(x, np.float64), axis=-1)
off = float(np.max(np.abs(y - right) / right))
there = off > 1.5 * 2**-8
print(
    f"jax {jax.__version__}: {'DEFECT' if there else 'as expected'}: off by {off:.2%}; one rounding is 0.39%"
)
sys.exit(1 if there else 0)
