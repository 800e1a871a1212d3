"""The application: OpenAI's paths, health and metrics, as plain ASGI behind Starlette's router."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence

from starlette.applications import Starlette
from starlette.routing import Route

from dougong.gateway.core import Gateway
from dougong.gateway.doors import PROMPTS, HealthDoor, MetricsDoor, ModelsDoor, Nowhere, TokensDoor
from dougong.gateway.settings import Replica, Settings


def build_app(settings: Settings, replicas: Sequence[Replica]) -> Starlette:
    """Return the application of a gateway before some replicas; its state holds the ``gateway``.

    Parameters
    ----------
    settings
        Its limits.
    replicas
        The engines behind it; they need not be up yet.

    Raises
    ------
    EnvironmentLacking
        Records or logs cannot be written.
    InputError
        A key or the file of keys is wrong.
    """
    gateway = Gateway(settings, replicas)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None, None]:
        async with gateway.running():
            yield

    tokens, health, models = TokensDoor(gateway), HealthDoor(gateway), ModelsDoor(gateway)
    routes = [
        *(Route(path, tokens) for path in PROMPTS),
        Route("/v1/models", models),
        Route("/v1/models/{model:path}", models),
        Route("/metrics", MetricsDoor(gateway)),
        *(Route(path, health) for path in ("/health", "/health/live", "/health/ready")),
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    app.router.redirect_slashes = False
    app.router.default = Nowhere(gateway)
    app.state.gateway = gateway
    return app
