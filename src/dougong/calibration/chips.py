"""What a chip's own measured operators say about it, beyond the parameters that all chips share.

Notes
-----
For a chip and kind of operator with ``n`` measured rows whose median ``log(predicted / measured)`` is ``r``, predicted
times are multiplied by ``exp(-r n / (n + 4))``: one row says little, twenty say nearly all. A chip that nobody
measured has no factor, and a wider interval. Operators only: no end-to-end case enters here.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import lru_cache

from dougong.calibration.parameters import data_file

KINDS = ("gemm", "grouped_gemm", "decode_attention", "prefill_attention", "all_reduce", "all_to_all")
SHRINK_ROWS = 4.0
"""Rows at which a chip's own measurements weigh as much as what all chips share."""


@lru_cache(maxsize=1)
def _table() -> Mapping[str, Mapping[str, float]]:
    return tomllib.loads(data_file("chips.toml"))["factor"]


TILE_ROWS = 16.0
"""Rows of the least tile of a matrix unit: Ascend's cube, AMX, MFMA, ``mma`` on Ampere and Ada; and of the operand that
Blackwell kernels turn to the narrow side [1]."""
WIDE_TILE_ROWS = 64.0
"""The same on Hopper, whose ``wgmma`` takes 64 rows (PTX ISA, ``wgmma.mma_async``) [1]."""
_HOPPER = ("nvidia-h100", "nvidia-h200", "nvidia-h20-", "nvidia-h800", "nvidia-gh200")


def tile_rows(chip: str) -> float:
    """Rows of the least tile of a chip's matrix unit: of which an expert with few tokens wastes nearly one [1]."""
    return WIDE_TILE_ROWS if chip.startswith(_HOPPER) else TILE_ROWS


def factors(chip: str) -> Mapping[str, float]:
    """Kind of operator to the factor on its predicted time on ``chip``; kinds without rows are left out [1]."""
    return _table().get(chip, {})
