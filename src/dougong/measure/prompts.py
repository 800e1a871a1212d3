"""Prompts of a wanted length: random common words, as many as the endpoint counts to that many tokens.

Every word is one token in the vocabularies of open models (32,000 tokens and more); where it is not, or a template adds
tokens, the endpoint's own count corrects the number of words.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass

from dougong.measure.load import Due

_TEXT = """
the of and to in is you that it he was for on are as with his they at be this have from or one had
by but not what all were we when your can said there use an each which she do how their if will up
other about out many then them these so some her would make like him into time has look two more
write go see number no way could people my than first water been call who its now find long down day
did get come made may part over new sound take only little work know place year live me back give
most very after thing our just name good sentence man think say great where help through much before
line right too mean old any same tell boy follow came want show also around form three small set put
end does another well large must big even such because turn here why ask went men read need land
different home us move try kind hand picture again change off play spell air away animal house point
page letter mother answer
"""
WORDS = tuple(_TEXT.split())
BLOCK_TOKENS = 512
"""Tokens of one prefix block of a trace [token]; see :mod:`dougong.workload.trace`."""


@dataclass(frozen=True, slots=True)
class Counting:
    """How an endpoint counts a prompt of words: ``tokens = overhead + per_word * words``.

    Attributes
    ----------
    overhead_tokens
        Tokens of a template and of marks at the beginning [token].
    tokens_per_word
        Slope [token].
    known
        Whether the endpoint's own count said so; else one token per word is assumed.
    """

    overhead_tokens: float = 0.0
    tokens_per_word: float = 1.0
    known: bool = False

    def words(self, tokens: int) -> int:
        """Words of a prompt of ``tokens`` [word]; at least one."""
        return max(round((tokens - self.overhead_tokens) / self.tokens_per_word), 1)

    @property
    def least_tokens(self) -> int:
        """The shortest prompt there is [token]."""
        return round(self.overhead_tokens + self.tokens_per_word)


def prompt_text(due: Due, counting: Counting, seed: int) -> str:
    """The prompt of one request: its shared blocks first, then words of its own."""
    count = counting.words(due.shape.prompt_tokens)
    parts = [block_words(block, counting, seed) for block in due.shape.blocks]
    shared = list(itertools.islice(itertools.chain.from_iterable(parts), count))
    # A block that nobody else has is random like everything else; so whole prompts may be made of blocks.
    own = random_words(f"request {seed} {due.index}", count - len(shared))
    return " ".join([*shared, *own])


def block_words(block: int, counting: Counting, seed: int) -> Sequence[str]:
    """The words of one shared prefix block."""
    return random_words(f"block {seed} {block}", round(BLOCK_TOKENS / counting.tokens_per_word))


def random_words(key: str, count: int) -> list[str]:
    """``count`` words drawn by a key: the same key gives the same words."""
    return random.Random(key).choices(WORDS, k=count)
