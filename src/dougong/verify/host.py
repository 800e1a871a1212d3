"""The machine as a part of the stack tuple: what of it may change a number."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import dougong

_NUMERIC = (
    "NVIDIA_TF32_OVERRIDE",
    "CUBLAS_WORKSPACE_CONFIG",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "ATEN_CPU_CAPABILITY",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "XLA_FLAGS",
    "ASCEND_LAUNCH_BLOCKING",
    "HCCL_DETERMINISTIC",
    "LCCL_DETERMINISTIC",
    "INF_NAN_MODE_ENABLE",
    "MUSA_ENABLE_TF32",
    "TF32_FLAG",
)
"""Variables of the environment that change numbers, as their libraries' pages say."""


def here() -> dict[str, str]:
    """Return what this machine adds to a stack tuple."""
    found = {
        "machine": platform.machine(),
        "cpu": cpu(),
        "os": platform.system(),
        "kernel": platform.release(),
        "dougong": dougong.__version__,
    }
    return {**found, **{f"env.{name}": os.environ[name] for name in _NUMERIC if name in os.environ}}


def cpu() -> str:
    """Return the processor's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.processor() or "unknown"
