"""What torch sees. Run as a file in a child process: importing a vendor's package may fail, hang or abort.

``python torch_probe.py [PACKAGE DEVICE]`` prints one line of JSON. torch loads vendors' packages by itself when
it is imported, and then fails with them where their libraries are not there; ``TORCH_DEVICE_BACKEND_AUTOLOAD=0``,
set by the caller, prevents that.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any


def main(arguments: list[str]) -> None:
    """Print what one backend has."""
    torch: Any = importlib.import_module("torch")
    found: dict[str, object] = {"torch": torch.__version__}
    if arguments:
        package, kind = arguments
        found["package"] = str(getattr(importlib.import_module(package), "__version__", ""))
        found["devices"] = {kind: devices_of(getattr(torch, kind))}
    else:
        found["cuda"], found["hip"] = torch.version.cuda, torch.version.hip
        named = {kind: getattr(torch, kind, None) for kind in ("cuda", "xpu")}
        found["devices"] = {kind: devices_of(module) for kind, module in named.items() if module is not None}
        if torch.backends.mps.is_available():
            found["devices"] = {**dict(found["devices"]), "mps": [{"name": "Apple GPU", "memory": None}]}  # type: ignore[call-overload]
        found["cpu"] = torch.backends.cpu.get_cpu_capability()
    print(json.dumps(found))  # noqa: T201 - its caller reads it


def devices_of(module: Any) -> list[dict[str, object]]:
    """Return name and memory [byte] of each device of a backend."""
    if not module.is_available():
        return []
    found: list[dict[str, object]] = []
    for index in range(module.device_count()):
        try:
            memory: object = int(module.get_device_properties(index).total_memory)
        except Exception:
            memory = None  # a backend need not tell
        try:
            name = str(module.get_device_name(index))
        except Exception:
            name = "unknown"
        found.append({"name": name, "memory": memory})
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
