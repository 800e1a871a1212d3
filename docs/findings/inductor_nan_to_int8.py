"""torch.compile: a token of zeros quantised as x / amax is -128 throughout, where eager code gives 0."""

import sys

import torch

x = torch.zeros(1, 64)


def quantise(x):
    """Scale by the largest and round, as dynamic quantisation without a guard does: 0 / 0 is NaN."""
    return torch.round(x / (x.abs().amax(-1, keepdim=True) / 127)).to(torch.int8)


eager, compiled = quantise(x)[0, :3].tolist(), torch.compile(quantise)(x)[0, :3].tolist()
there = eager != compiled
print(
    f"torch {torch.__version__}: {'DEFECT' if there else 'as expected'}: compiled {compiled}, eager {eager}"
)
sys.exit(1 if there else 0)
