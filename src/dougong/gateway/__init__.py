"""OpenAI-compatible server that admits, routes and streams to engines; it never computes a token.

Settings need nothing but the base install; the application and the server need the extra ``local``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dougong.errors import EnvironmentLacking
from dougong.gateway.settings import Replica, Settings, check_bind, is_loopback

if TYPE_CHECKING:
    from dougong.gateway.app import build_app
    from dougong.gateway.server import bind, loop_factory, run_app, serve_app

__all__ = [
    "Replica",
    "Settings",
    "bind",
    "build_app",
    "check_bind",
    "is_loopback",
    "loop_factory",
    "run_app",
    "serve_app",
]

_LAZY = {
    "build_app": "app",
    "bind": "server",
    "loop_factory": "server",
    "run_app": "server",
    "serve_app": "server",
}


def __getattr__(name: str) -> Any:
    """Import what needs web packages when it is asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    except ModuleNotFoundError as lacking:
        raise EnvironmentLacking(
            f"the gateway needs the package {lacking.name}", hint="pip install 'dougong[local]'"
        ) from None
