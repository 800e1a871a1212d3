"""What a step is cut into: degrees, tokens, dtypes; and the arithmetic that floats and arrays share."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dougong.catalog.models import DTYPE_BITS
from dougong.ops.operators import Number


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """Parallel degrees, in devices; each a number or an array."""

    tp: Number
    cp: Number
    attn_dp: Number
    ep: Number
    expert_tp: Number

    @property
    def width(self) -> Number:
        """Devices of one pipeline stage of a replica."""
        return self.tp * self.cp * self.attn_dp


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What one step carries, per attention group.

    Attributes
    ----------
    decode_sequences
        Sequences that decode [sequence].
    queries
        Query tokens per decode sequence: 1 + draft tokens.
    context
        Cached tokens a decode sequence sees, mean over the batch [token].
    prefill_tokens
        Prompt tokens computed in this step [token].
    prefill_context
        Mean tokens a prompt token attends to [token].
    prefill_sequences
        Prompts (or last chunks of prompts) in the step [sequence].
    prefill_share
        Mean prompt tokens of the attention groups over those of the busiest; all wait for that one [1].
    """

    decode_sequences: Number = 0.0
    queries: Number = 1.0
    context: Number = 0.0
    prefill_tokens: Number = 0.0
    prefill_context: Number = 0.0
    prefill_sequences: Number = 0.0
    prefill_share: Number = 1.0

    def share(self, part: float) -> Tokens:
        """A part of the batch: as many prompts and sequences in proportion."""
        names = ("decode_sequences", "prefill_tokens", "prefill_sequences")
        return replace(self, **{name: getattr(self, name) * part for name in names})

    @property
    def decode_tokens(self) -> Number:
        """Query tokens of decoding sequences."""
        return self.decode_sequences * self.queries


@dataclass(frozen=True, slots=True, kw_only=True)
class Dtypes:
    """How stored dtypes compute on this chip, and what travels in which dtype."""

    compute: dict[str, str]  # stored dtype of a matrix -> dtype of the multiplication
    kv: str = "bf16"
    attention: str = "bf16"
    activation: str = "bf16"
    dispatch: str = "bf16"
    combine: str = "bf16"

    def widens(self, stored: str) -> bool:
        """Whether a matrix stored in ``stored`` is widened on its way into the multiplication."""
        return DTYPE_BITS[stored] < 15 and self.compute[stored] in ("bf16", "fp16", "fp32")


def bytes_of(dtype: str) -> float:
    """Stored bytes of one value, block scales included [byte]."""
    return DTYPE_BITS[dtype] / 8


def least(a: Number, b: Number) -> Number:
    """The smaller of two numbers or arrays, without naming an array library."""
    return (a + b - abs(a - b)) / 2


def most(a: Number, b: Number) -> Number:
    """The larger of two numbers or arrays."""
    return (a + b + abs(a - b)) / 2
