"""An endpoint that runs already: nothing is launched, it is only talked to."""

from __future__ import annotations

import urllib.parse

from dougong.engines.checks import refuse
from dougong.engines.platforms import PLATFORMS
from dougong.engines.port import Capabilities, LaunchCommand, LaunchRequest, Presence


class OpenAi:
    """Adapter of any OpenAI-compatible endpoint, by its URL."""

    name = "openai"
    formats = ("endpoint",)
    platforms = tuple(PLATFORMS)
    capabilities = Capabilities(tools=True, json_schema=True, logprobs=True, embeddings=True)

    def presence(self) -> Presence:
        """Say yes: nothing has to be here."""
        return Presence(here=True)

    def command(self, request: LaunchRequest) -> LaunchCommand:
        """Return no command, and where the endpoint is; its ``/v1`` may be said or left out."""
        parts = urllib.parse.urlsplit(request.model.location)
        wrong = parts.scheme not in ("http", "https") or not parts.hostname
        refuse(
            self,
            request,
            f"{request.model.location!r} is no http:// or https:// URL" if wrong else "",
            "a key goes into a variable, not into the URL" if parts.username or parts.password else "",
        )
        base_url = request.model.location.rstrip("/").removesuffix("/v1")
        return LaunchCommand(argv=(), base_url=base_url, health_path="/v1/models", api_key=request.api_key)
