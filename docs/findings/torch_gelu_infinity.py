"""PyTorch on CPU: the exact GELU of +infinity is NaN where a tensor is packed, and infinity where it has strides."""

import sys

import torch

packed, strided = torch.full((37,), torch.inf), torch.full((37, 2), torch.inf)[:, 0]
counts = [int(torch.isnan(torch.nn.functional.gelu(x)).sum()) for x in (packed, strided)]
there = any(counts)
print(
    f"torch {torch.__version__}: {'DEFECT' if there else 'as expected'}: of 37 infinities NaN: "
    f"packed {counts[0]}, strided {counts[1]}"
)
sys.exit(1 if there else 0)
