"""What of PyTorch and its device may change a number, and what is lacking where a device is not here."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import torch

from dougong.errors import EnvironmentLacking

HOW_TO_GET = {
    "cuda": "install the driver, then a build of torch with CUDA or ROCm: https://pytorch.org/get-started/locally",
    "npu": "install CANN and its driver, then: pip install torch-npu (the release that matches torch)",
    "musa": "install the MUSA SDK, then torch_musa from Moore Threads",
    "mlu": "install Cambricon's Neuware, then torch_mlu",
    "gcu": "install Enflame's TopsRider, then torch_gcu",
    "xpu": "install Intel's GPU driver, then a build of torch with XPU: https://pytorch.org/get-started/locally",
    "sdaa": "install Teco's SDK, then torch_sdaa",
    "supa": "install Biren's SUPA SDK, then torch_br",
}
_EXTENSIONS = {
    "npu": "torch-npu",
    "musa": "torch_musa",
    "mlu": "torch_mlu",
    "gcu": "torch_gcu",
    "sdaa": "torch_sdaa",
}


def check_device(device: str) -> None:
    """Add one to a number on the device.

    Raises
    ------
    EnvironmentLacking
        With how to get it.
    """
    try:
        if float(torch.ones(1, device=device).add(1).cpu()[0]) == 2.0:
            return
        what = "1 + 1 is not 2 there"
    except Exception as error:  # every runtime fails in its own words
        what = str(error).strip().splitlines()[0][:200]
    kind = device.partition(":")[0]
    raise EnvironmentLacking(
        f"torch {torch.__version__} has no working device {device!r} here: {what}", hint=HOW_TO_GET.get(kind)
    )


def describe(device: str) -> dict[str, str]:
    """Return versions, flags and the device's own name."""
    kind = torch.device(device).type
    found = {
        "framework": "torch",
        "torch": torch.__version__,
        "device": device,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "deterministic_algorithms": str(torch.are_deterministic_algorithms_enabled()).lower(),
    }
    if kind == "cpu":
        return {**found, "cpu_capability": torch.backends.cpu.get_cpu_capability()}
    version: Any = torch.version
    for name in ("cuda", "hip", "xpu"):
        if getattr(version, name, None):
            found[name] = str(getattr(version, name))
    if kind == "cuda":
        found["cudnn"] = str(torch.backends.cudnn.version())
        found["allow_tf32"] = str(torch.backends.cuda.matmul.allow_tf32).lower()
    extension = _EXTENSIONS.get(kind)
    if extension:
        try:
            found[extension] = metadata.version(extension)
        except metadata.PackageNotFoundError:
            found[extension] = "unknown"
    module: Any = getattr(torch, kind, None)
    try:
        found["chip"] = str(module.get_device_name(device))
    except Exception:  # not every runtime tells
        found["chip"] = "unknown"
    return found
