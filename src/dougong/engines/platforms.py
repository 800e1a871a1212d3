"""Platforms: how each vendor's devices are called by torch, by environment variables and by the catalog."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dougong.errors import InputError, UnknownId


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """One family of devices behind one runtime.

    Attributes
    ----------
    name
        The word of ``--device``.
    torch_device
        Type of ``torch.device``; several vendors keep the name ``cuda`` over their own runtime.
    torch_package
        The package that brings it, beyond torch itself.
    visible
        Environment variable with the indices of the devices that a process may see.
    address
        Environment variable with this node's address, where its collectives need to be told.
    vendors
        Vendor names of the catalog's chip records.
    vllm_package
        The distribution that brings vLLM to it: vLLM itself, or a plugin beside it.
    """

    name: str
    title: str
    torch_device: str
    torch_package: str = ""
    visible: str = ""
    address: str = ""
    vendors: tuple[str, ...] = ()
    vllm_package: str = ""


_ALL = (
    Platform(name="cpu", title="CPU", torch_device="cpu", vllm_package="vllm"),
    Platform(
        name="cuda",
        title="NVIDIA CUDA",
        torch_device="cuda",
        visible="CUDA_VISIBLE_DEVICES",
        vendors=("NVIDIA",),
        vllm_package="vllm",
    ),
    Platform(
        name="rocm",
        title="AMD ROCm",
        torch_device="cuda",
        visible="HIP_VISIBLE_DEVICES",
        vendors=("AMD",),
        vllm_package="vllm",
    ),
    Platform(
        name="ascend",
        title="Huawei Ascend",
        torch_device="npu",
        torch_package="torch_npu",
        visible="ASCEND_RT_VISIBLE_DEVICES",
        address="HCCL_IF_IP",
        vendors=("Huawei",),
        vllm_package="vllm-ascend",
    ),
    Platform(
        name="metax",
        title="MetaX MACA",
        torch_device="cuda",
        visible="CUDA_VISIBLE_DEVICES",
        vendors=("MetaX",),
        vllm_package="vllm-metax",
    ),
    Platform(
        name="mthreads",
        title="Moore Threads MUSA",
        torch_device="musa",
        torch_package="torch_musa",
        visible="MUSA_VISIBLE_DEVICES",
        vendors=("Moore Threads",),
        vllm_package="vllm-musa",
    ),
    Platform(
        name="kunlun",
        title="Kunlun XPU",
        torch_device="cuda",
        torch_package="torch_xmlir",
        visible="XPU_VISIBLE_DEVICES",
        vendors=("Kunlunxin",),
        vllm_package="vllm-kunlun",
    ),
    Platform(
        name="gaudi",
        title="Intel Gaudi",
        torch_device="hpu",
        torch_package="habana_frameworks",
        visible="HABANA_VISIBLE_MODULES",
        vendors=("Intel",),
        vllm_package="vllm-gaudi",
    ),
    Platform(
        name="xpu",
        title="Intel GPU",
        torch_device="xpu",
        visible="ZE_AFFINITY_MASK",
        vendors=("Intel",),
        vllm_package="vllm",
    ),
    Platform(
        name="iluvatar",
        title="Iluvatar CoreX",
        torch_device="cuda",
        visible="CUDA_VISIBLE_DEVICES",
        vendors=("Iluvatar CoreX",),
    ),
    Platform(
        name="cambricon",
        title="Cambricon MLU",
        torch_device="mlu",
        torch_package="torch_mlu",
        visible="MLU_VISIBLE_DEVICES",
        vendors=("Cambricon",),
        vllm_package="vllm-mlu",
    ),
    Platform(
        name="hygon",
        title="Hygon DCU",
        torch_device="cuda",
        visible="HIP_VISIBLE_DEVICES",
        vendors=("Hygon",),
    ),
    Platform(
        name="enflame",
        title="Enflame GCU",
        torch_device="gcu",
        torch_package="torch_gcu",
        visible="TOPS_VISIBLE_DEVICES",
        vendors=("Enflame",),
        vllm_package="vllm-gcu",
    ),
    Platform(
        name="biren",
        title="Biren SUPA",
        torch_device="supa",
        torch_package="torch_br",
        visible="SUPA_VISIBLE_DEVICES",
        vendors=("Biren",),
    ),
    Platform(name="metal", title="Apple Metal", torch_device="mps", vendors=("Apple",)),
)

PLATFORMS = {platform.name: platform for platform in _ALL}
"""Every platform by its name, in the order in which ``dougong devices`` looks."""


def platform(name: str) -> Platform:
    """Return the platform called ``name``; near names where there is none."""
    if name in PLATFORMS:
        return PLATFORMS[name]
    raise UnknownId("platform", name, PLATFORMS, hint=f"platforms: {', '.join(PLATFORMS)}")


def read_device(word: str) -> tuple[str, tuple[int, ...]]:
    """Read a word of ``--device``: ``ascend``, ``cuda:0``, ``cuda:0,2-3``.

    Returns
    -------
    tuple
        The platform's name, and the indices; none are named where all are meant.
    """
    name, colon, indices = word.partition(":")
    found = platform(name.strip().lower()).name
    if not colon:
        return found, ()
    listed: list[int] = []
    for part in indices.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InputError(
                f"--device: {word!r} does not name devices", hint="for instance cuda:0 or ascend:0-7"
            )
        low, high = int(first), int(last or first)
        if high < low or high > 4095:
            raise InputError(f"--device: {part.strip()!r} is no range of devices", hint="for instance 0-7")
        listed += range(low, high + 1)
    return found, tuple(dict.fromkeys(listed))


def visibility(name: str, devices: Iterable[int]) -> dict[str, str]:
    """Return the environment that shows a process only ``devices`` of a platform; empty for all."""
    indices, variable = list(devices), platform(name).visible
    return {variable: ",".join(map(str, indices))} if indices and variable else {}


def address(name: str, host: str) -> dict[str, str]:
    """Return the environment that tells a platform where other nodes reach this process; empty on loopback."""
    variable = platform(name).address
    return {variable: host} if variable and not on_loopback(host) else {}


def on_loopback(host: str) -> bool:
    """Say whether a host is this machine and nobody else's."""
    return host in ("127.0.0.1", "::1", "localhost")
