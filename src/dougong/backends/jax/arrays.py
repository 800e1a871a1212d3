"""JAX, imported where it is first needed, with 64-bit integers kept as they are."""

from __future__ import annotations

from typing import Any

from dougong.backends.needed import needed

PIP = "jax ml_dtypes"

jax: Any = needed("jax", PIP)
jax.config.update("jax_enable_x64", True)
jnp: Any = needed("jax.numpy", PIP)
lax: Any = jax.lax
nn: Any = needed("jax.nn", PIP)

Arrays = dict[str, Any]
"""Traced arrays by name."""


def wide(x: Any) -> Any:
    """Return an array in float32."""
    return x.astype(jnp.float32)
