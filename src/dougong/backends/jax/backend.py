"""The adapter of JAX."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from dougong.backends.port import Answer, Call, Unsupported
from dougong.errors import EnvironmentLacking


class JaxBackend:
    """JAX, jitted, on one platform.

    Parameters
    ----------
    platform
        As JAX calls it: ``cpu``, ``gpu``, ``tpu``.

    Raises
    ------
    EnvironmentLacking
        Where JAX or the platform is not here.
    """

    def __init__(self, platform: str = "cpu") -> None:
        os.environ["JAX_PLATFORMS"] = platform
        from dougong.backends.jax import arrays
        from dougong.backends.jax.operators import OPERATORS

        self.jax, self.operators = arrays.jax, OPERATORS
        self.name = f"jax-{platform}"
        try:
            self.device: Any = self.jax.devices()[0]
        except RuntimeError as error:
            raise EnvironmentLacking(
                f"JAX has no platform {platform!r} here: {error}",
                hint="pip install jax, jax[cuda12] or jax[tpu]",
            ) from error
        self._jitted: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {}

    def describe(self) -> Mapping[str, str]:
        """Versions, platform and flags."""
        from importlib import metadata

        return {
            "framework": "jax",
            "jax": metadata.version("jax"),
            "jaxlib": metadata.version("jaxlib"),
            "platform": str(self.device.device_kind),
            "flags": "jax_enable_x64",
            "device": str(self.device.platform),
        }

    def run(self, call: Call) -> Answer:
        """Compute one operator."""
        if call.op not in self.operators:
            raise Unsupported(f"{self.name} has no {call.op}")
        key = repr((call.op, sorted(call.attributes.items())))
        if key not in self._jitted:
            self._jitted.clear()
            operator, kept = self.operators[call.op], Call(op=call.op, inputs={}, attributes=call.attributes)
            self._jitted[key] = self.jax.jit(partial(operator, kept))
        given = {name: np.array(array) for name, array in call.inputs.items()}
        found = self._jitted[key](given)
        places = {str(place.platform) for each in found.values() for place in each.devices()}
        return Answer(
            outputs={name: np.asarray(each) for name, each in found.items()}, device=", ".join(sorted(places))
        )
