"""How to launch, watch and talk to an inference engine: a port, one file per adapter, and what lies around them.

An engine is always a child process that speaks OpenAI's HTTP on loopback. Adapters are imported by nobody:
they arrive by entry point (group ``dougong.engines``), ours like a stranger's.
"""

from dougong.engines.port import (
    Capabilities,
    Engine,
    LaunchCommand,
    LaunchRequest,
    Model,
    Parallel,
    Presence,
)

__all__ = ["Capabilities", "Engine", "LaunchCommand", "LaunchRequest", "Model", "Parallel", "Presence"]
