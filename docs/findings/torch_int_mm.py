"""PyTorch: torch._int_mm on the CPU leaves its answer unwritten where oneDNN refuses the call."""

import sys

import numpy as np
import torch

rng = np.random.default_rng(0)
broken = False
for what, m, k in (("one input per output", 17, 1), ("a row of one with stride 0", 1, 512)):
    x, weight = (rng.integers(-128, 128, (n, k), np.int8) for n in (m, 66))
    rows = torch.from_numpy(x)
    if m == 1:
        rows = rows.as_strided((1, k), (0, 1))
    out = torch.full((m, 66), -(2**30), dtype=torch.int32)
    torch._int_mm(rows, torch.from_numpy(weight).t(), out=out)
    exact = x.astype(np.int64) @ weight.astype(np.int64).T
    unwritten = int((out == -(2**30)).sum())
    print(f"{what}: {unwritten} of {out.numel()} elements were never written")
    broken = broken or not np.array_equal(out.numpy(), exact)
sys.exit(broken)
