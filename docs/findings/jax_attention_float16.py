"""JAX: nn.dot_product_attention of float16 raises on CPU, where float32 and bfloat16 run."""

import sys

import jax
import jax.numpy as jnp

x = jnp.ones((1, 4, 2, 8), jnp.float16)
try:
    jax.jit(jax.nn.dot_product_attention)(x, x, x)
except ValueError as error:
    print(f"jax {jax.__version__}: DEFECT: {error}")
    sys.exit(1)
print(f"jax {jax.__version__}: as expected")
