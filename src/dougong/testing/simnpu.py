"""A simulated accelerator: a device of PyTorch in Python, with faults to order and a census of what ran.

It takes the dispatch key that vendors' plugins take (``PrivateUse1``), so that discovery, fallbacks and whole models
meet what they meet on a chip. The backend ``torch-simnpu`` is honest, ``torch-simnpu-FAULT`` has one of :data:`FAULTS`.
PyTorch calls this registration experimental; where it is gone, :class:`FaultMode` plants the same faults on the CPU.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from dougong.backends import Answer, Call
from dougong.backends.torch.backend import TorchBackend

NAME = "simnpu"

Kernel = Callable[..., Any]
Fault = Callable[[Kernel, tuple[Any, ...], dict[str, Any]], Any]
"""From a kernel of the CPU and its arguments to what the device makes of them."""

_PRODUCTS = ("aten.linear", "aten.mm", "aten.matmul", "aten.bmm", "aten.addmm")


def _narrowed(kernel: Kernel, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    def cut(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.dtype == torch.float32:
            return ((value.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)
        return value

    return kernel(*tree_map(cut, args), **kwargs)


def _rough_exp(kernel: Kernel, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return kernel(*args, **kwargs) * (1 + 1e-3)


def _saturating(kernel: Kernel, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    out = kernel(*args, **kwargs)
    return out.clamp(-65504.0, 65504.0) if out.dtype == torch.float16 else out


def _scribbling(kernel: Kernel, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    out = kernel(*args, **kwargs)
    args[0].view(-1)[:1].add_(1)
    return out


def _hanging(kernel: Kernel, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    time.sleep(3600)
    return kernel(*args, **kwargs)


def _refusing(kernel: Kernel, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    raise RuntimeError("simnpu: error 507015: aicore exception")


FAULTS: Mapping[str, Mapping[str, Fault]] = {
    "": {},
    "tf32": dict.fromkeys(_PRODUCTS, _narrowed),
    "exp": dict.fromkeys(("aten.exp", "aten._softmax", "aten.softmax"), _rough_exp),
    "saturates": dict.fromkeys(_PRODUCTS, _saturating),
    "scribbles": dict.fromkeys(_PRODUCTS, _scribbling),
    "hangs": dict.fromkeys(_PRODUCTS, _hanging),
    "refuses": dict.fromkeys(_PRODUCTS, _refusing),
    "falls": {},
    "lies": {},
}
"""By name, what the device does wrong: kernels by the beginning of their names. ``falls`` runs products on the CPU and
counts it, ``lies`` runs everything there and says that it did not."""


class Device:
    """The one simulated device: its fault, and what ran on it and beside it."""

    def __init__(self) -> None:
        self.fault = ""
        self.ran: Counter[str] = Counter()
        self.fell: Counter[str] = Counter()

    def launch(self, kernel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a kernel of the CPU as the device would."""
        name = str(kernel)
        if self.fault == "falls" and name.startswith(_PRODUCTS):
            self.fell[name] += 1
        else:
            self.ran[name] += 1
        for head, wrong in FAULTS[self.fault].items():
            if name == head or name.startswith(f"{head}."):
                return wrong(kernel, args, kwargs)
        return kernel(*args, **kwargs)


DEVICE = Device()


class SimTensor(torch.Tensor):
    """A tensor of the device: its numbers lie in a tensor of the host that nothing else sees."""

    raw: torch.Tensor

    @staticmethod
    def __new__(cls: type[SimTensor], raw: torch.Tensor) -> SimTensor:
        """Make the outside of a tensor."""
        make: Any = torch.Tensor._make_wrapper_subclass  # pyright: ignore
        return make(
            cls,
            raw.shape,
            strides=raw.stride(),
            storage_offset=raw.storage_offset(),
            dtype=raw.dtype,
            device=NAME,
        )

    def __init__(self, raw: torch.Tensor) -> None:
        self.raw = raw

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator on the device."""
        return _dispatch(func, args, kwargs or {})


def _dispatch(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    target = kwargs.get("device")
    stays = target is None or torch.device(target).type == NAME
    inside = tree_map(_inside, (args, kwargs))
    if target is not None:
        inside[1]["device"] = "cpu"
    out = DEVICE.launch(func, *inside)
    # An operator that writes in place gives back the very tensor that it was given.
    known = {id(each.raw): each for each in tree_leaves((args, kwargs)) if isinstance(each, SimTensor)}
    if func is torch.ops.aten.copy_.default:
        return args[0]

    def outside(each: Any) -> Any:
        if not stays or not isinstance(each, torch.Tensor) or isinstance(each, SimTensor):
            return each
        return known.get(id(each)) or SimTensor(each)

    return tree_map(outside, out)


def _inside(value: Any) -> Any:
    return value.raw if isinstance(value, SimTensor) else value


def _fallback(op: Any, *args: Any, **kwargs: Any) -> Any:
    return _dispatch(op, args, kwargs)


_registered: list[Any] = []


def can_register() -> bool:
    """Whether this PyTorch lets a device be written in Python."""
    return hasattr(backend_registration, "_setup_privateuseone_for_python_backend")


def register() -> None:
    """Make ``device="simnpu"`` known to this process's PyTorch; once, and for good."""
    if _registered:
        return
    setup: Any = backend_registration._setup_privateuseone_for_python_backend  # pyright: ignore
    setup(NAME)
    library: Any = torch.library.Library("_", "IMPL")
    library.fallback(_fallback, "PrivateUse1")
    _registered.append(library)


class FaultMode(TorchDispatchMode):
    """The faults of the device, planted on the tensors of the CPU."""

    def __init__(self, fault: str) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self.fault = fault

    def __torch_dispatch__(self, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator, wrongly where the fault says so."""
        DEVICE.fault = self.fault
        return DEVICE.launch(func, args, kwargs or {})


class SimBackend(TorchBackend):
    """PyTorch on the simulated accelerator, with or without a fault.

    Parameters
    ----------
    fault
        One of :data:`FAULTS`.
    """

    def __init__(self, fault: str = "") -> None:
        if fault not in FAULTS:
            raise ValueError(
                f"the simulated accelerator has no fault {fault!r}; there are {', '.join(FAULTS)}"
            )
        self.fault = DEVICE.fault = fault
        self.planted = not can_register()
        if not self.planted:
            register()
        super().__init__("cpu" if self.planted else NAME)

    def describe(self) -> Mapping[str, str]:
        """The stack of torch, and the fault."""
        return {**super().describe(), "device": NAME, "chip": "simulated", "fault": self.fault or "none"}

    def run(self, call: Call) -> Answer:
        """Compute one operator; what fell back is read off the device's own counters, as a profiler would."""
        DEVICE.ran.clear()
        DEVICE.fell.clear()
        if self.fault == "lies":
            answer = TorchBackend("cpu").run(call)
        elif self.planted:
            with FaultMode(self.fault):
                answer = super().run(call)
        else:
            answer = super().run(call)
        return replace(answer, device=NAME, fallback=_fell() or answer.fallback)


def _fell() -> str | None:
    if not DEVICE.ran and not DEVICE.fell:
        return f"no kernel was launched on {NAME}"
    names = ", ".join(f"{name} ×{count}" for name, count in DEVICE.fell.items())
    return f"ran on the CPU: {names}" if names else None
