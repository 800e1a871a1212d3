"""torch.compile on CPU: repeat_interleave cut to a length that is no multiple of its count leaves the end unwritten."""

import sys

import torch

torch.set_num_threads(1)
scale = torch.arange(8, dtype=torch.float32).reshape(4, 2)


def spread(scale):
    """One scale per block of 128 columns, the last block cut at 200: what a block-quantised layer does."""
    return scale.repeat_interleave(128, dim=-1)[..., :200] * 1.0


eager, compiled = spread(scale), torch.compile(spread)(scale)
wrong = int((eager != compiled).sum())
print(
    f"torch {torch.__version__}: {'DEFECT' if wrong else 'as expected'}: {wrong} of {eager.numel()} elements differ"
)
sys.exit(1 if wrong else 0)
