"""Products of quantised matrices by PyTorch: its integer product where it has one, else widened and multiplied."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from dougong.backends.port import Call, Unsupported

Tensors = Mapping[str, torch.Tensor]

_E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def int8_matmul(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """``torch._int_mm`` of two int8 matrices without zero points; on a CPU the product of int32 for the rest."""
    zero_points = (int(call.get("x_zero_point", 0)), int(call.get("weight_zero_point", 0)))
    return {"y": _integers(inputs["x"], inputs["weight"], *zero_points)}


def _integers(x: torch.Tensor, weight: torch.Tensor, x_zero: int = 0, weight_zero: int = 0) -> torch.Tensor:
    if x.dtype == weight.dtype == torch.int8 and x_zero == weight_zero == 0:
        return torch._int_mm(x, weight.t())  # pyright: ignore[reportPrivateImportUsage, reportPrivateUsage]
    if x.device.type != "cpu":
        raise Unsupported(f"PyTorch multiplies no integers but int8 by int8 on {x.device.type}")
    return torch.matmul(x.int() - x_zero, (weight.int() - weight_zero).t())


def _out(call: Call) -> torch.dtype:
    return getattr(torch, str(call.get("out_dtype", "bfloat16")))


def linear_w8a8(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """The int32 product, scaled in float32."""
    y = _integers(inputs["x"], inputs["weight"]).float()
    return {"y": (y * inputs["x_scale"][:, None] * inputs["weight_scale"]).to(_out(call))}


def linear_w8a16(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Weights widened to the dtype of the activations; the scale of a column is applied to them."""
    x, scale = inputs["x"], inputs["weight_scale"]
    return _linear(x, inputs["weight"].to(x.dtype) * scale[:, None])


def linear_w4a16(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Nibbles widened to the dtype of the activations, group by group."""
    x, group = inputs["x"], int(call.get("group", 128))
    code = _nibbles(inputs["weight"]).to(x.dtype)
    zero = 8
    if "weight_zero_point" in inputs:
        zero = _spread(inputs["weight_zero_point"].to(x.dtype), group, x.shape[1])
    return _linear(x, (code - zero) * _spread(inputs["weight_scale"], group, x.shape[1]))


def linear_fp8(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Both widened to float32, the sum scaled."""
    y = inputs["x"].float() @ inputs["weight"].float().t()
    return {"y": (y * inputs["x_scale"][:, None] * inputs["weight_scale"]).to(_out(call))}


def linear_fp8_block(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Both widened to float32 and scaled, block by block."""
    block, (n, k) = int(call.get("block", 128)), inputs["weight"].shape
    scale = _spread(_spread(inputs["weight_scale"], block, k).t(), block, n).t()
    x = inputs["x"].float() * _spread(inputs["x_scale"], block, k)
    return {"y": (x @ (inputs["weight"].float() * scale).t()).to(_out(call))}


def linear_mxfp8(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Both widened to float32 and scaled by powers of two."""
    extent = inputs["x"].shape[1]
    x, weight = (
        inputs[name].float() * _spread(_power(inputs[f"{name}_scale"]), 32, extent)
        for name in ("x", "weight")
    )
    return {"y": (x @ weight.t()).to(_out(call))}


def linear_mxfp4(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Weights widened to the dtype of the activations."""
    x = inputs["x"]
    weight = _e2m1(inputs["weight"]) * _spread(_power(inputs["weight_scale"]), 32, x.shape[1])
    return _linear(x, weight.to(x.dtype))


def linear_nvfp4(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Weights widened in float32, then to the dtype of the activations."""
    x = inputs["x"]
    scale = _spread(inputs["weight_scale"].float(), 16, x.shape[1]) * inputs["weight_scale_2"]
    return _linear(x, (_e2m1(inputs["weight"]) * scale).to(x.dtype))


def _linear(x: torch.Tensor, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"y": torch.nn.functional.linear(x, weight)}


def _nibbles(packed: torch.Tensor) -> torch.Tensor:
    return torch.stack((packed & 15, packed >> 4), dim=-1).flatten(-2)


def _spread(scale: torch.Tensor, size: int, extent: int) -> torch.Tensor:
    return scale.repeat_interleave(size, dim=-1)[..., :extent]


def _power(scale: torch.Tensor) -> torch.Tensor:
    return torch.ldexp(torch.ones_like(scale, dtype=torch.float32), scale.int() - 127)


def _e2m1(packed: torch.Tensor) -> torch.Tensor:
    code = _nibbles(packed).int()
    table = torch.tensor(_E2M1, device=packed.device)
    return torch.where(code >= 8, -1.0, 1.0) * table[code & 7]


OPERATORS: dict[str, Callable[[Call, Tensors], dict[str, torch.Tensor]]] = {
    "int8_matmul": int8_matmul,
    "linear_w8a8": linear_w8a8,
    "linear_w8a16": linear_w8a16,
    "linear_w4a16": linear_w4a16,
    "linear_fp8": linear_fp8,
    "linear_fp8_block": linear_fp8_block,
    "linear_mxfp8": linear_mxfp8,
    "linear_mxfp4": linear_mxfp4,
    "linear_nvfp4": linear_nvfp4,
}
