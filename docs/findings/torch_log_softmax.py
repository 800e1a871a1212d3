"""PyTorch on CPU: log_softmax and logsumexp of 16 bits add up, or keep their normaliser, in 16 bits."""

import sys

import torch

wide = torch.zeros(1, 65536, dtype=torch.float16)
sure = torch.zeros(1, 1000, dtype=torch.bfloat16)
sure[0, 0] = 14
got = [
    torch.log_softmax(wide, -1)[0, 0].item(),
    torch.logsumexp(wide, -1).item(),
    torch.log_softmax(sure, -1)[0, 0].item(),
]
expected = [
    torch.log_softmax(wide.double(), -1)[0, 0].item(),
    torch.logsumexp(wide.double(), -1).item(),
    torch.log_softmax(sure.double(), -1)[0, 0].item(),
]
there = any(abs(a - b) > 0.01 * abs(b) for a, b in zip(got, expected, strict=True))
print(f"torch {torch.__version__}: {'DEFECT' if there else 'as expected'}: got {got}, expected {expected}")
sys.exit(1 if there else 0)
