"""PyTorch on CPU: rsqrt of 16 bits rounds twice where a tensor has strides, and once where it has none."""

import sys

import torch

there = False
for dtype in (torch.float16, torch.bfloat16):
    x = torch.linspace(0.5, 500, 4096).to(dtype)
    spread = torch.zeros(4096, 3, dtype=dtype)
    spread[:, 0] = x
    packed, strided = torch.rsqrt(x), torch.rsqrt(spread[:, 0])
    right = torch.rsqrt(x.double()).to(dtype)
    counts = [int((each != right).sum()) for each in (packed, strided)]
    there |= counts[1] > 10 * max(counts[0], 1)
    print(f"{dtype}: not correctly rounded of 4,096: packed {counts[0]}, strided {counts[1]}")
print(f"torch {torch.__version__}: {'DEFECT' if there else 'as expected'}")
sys.exit(1 if there else 0)
