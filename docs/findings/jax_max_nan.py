"""JAX on CPU: whether jnp.max returns NaN depends on the shape of the row and where the NaN stands."""

import sys

import jax
import jax.numpy as jnp
import numpy as np

lost = []
for width in (130, 4096, 5000, 151936):
    for at in (0, width // 2, width - 1):
        x = np.ones((4, width), np.float32)
        x[:, at] = np.nan
        y = np.asarray(jax.jit(lambda a: jnp.max(a, axis=-1))(x))
        if not np.isnan(y).all():
            lost.append((width, at))
print(
    f"jax {jax.__version__}: {'DEFECT: NaN lost at (width, place) ' + str(lost) if lost else 'as expected'}"
)
sys.exit(1 if lost else 0)
