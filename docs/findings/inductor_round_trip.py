"""torch.compile: a round trip through bfloat16 is left out, so compiled and eager code differ by its rounding."""

import sys

import torch

x = torch.tensor([1.0 + 2**-12])


def round_trip(x):
    """Cast to bfloat16 and back."""
    return x.to(torch.bfloat16).to(torch.float32)


eager, compiled = round_trip(x).item(), torch.compile(round_trip)(x).item()
there = eager != compiled
print(
    f"torch {torch.__version__}: {'DEFECT' if there else 'as expected'}: compiled {compiled}, eager {eager}"
)
sys.exit(1 if there else 0)
