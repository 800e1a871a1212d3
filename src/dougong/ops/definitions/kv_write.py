"""Writes to the KV cache and the arithmetic of slots."""

from __future__ import annotations

from dougong.ops.definition import Definition, Operand, Special

_SLOTS = Operand(name="slots", axes="t", kind="index")
_SPECIALS = (
    Special(when="slots[t] = -1", then="token t is padding: nothing is written"),
    Special(
        when="a slot is beyond the cache", then="an error, or nothing is written", switch="slot_beyond_cache"
    ),
    Special(when="a slot comes twice", then="one token's entry, whole", switch="duplicate_write"),
)


def _cache(name: str) -> Operand:
    return Operand(name=name, axes="b s h d", kind=f"={name}")


def _integers(name: str, formula: str) -> Definition:
    return Definition(
        name=name,
        family="kv_write",
        inputs=(Operand(name="x", axes="n", kind="index"), Operand(name="other", axes="n", kind="index")),
        outputs=(Operand(name="y", axes="n", kind="=x"),),
        formula=formula,
        specials=(
            Special(when="exactly one is negative", then="rounded down", switch="negative_division"),
            Special(when="either is beyond 2**24 or 2**31", then="exact"),
        ),
        dtypes=("int32", "int64"),
    )


DEFINITIONS = (
    Definition(
        name="kv_cache_write",
        family="kv_write",
        inputs=(
            _cache("key_cache"),
            _cache("value_cache"),
            Operand(name="key", axes="t h d"),
            Operand(name="value", axes="t h d"),
            _SLOTS,
        ),
        outputs=(_cache("key_cache"), _cache("value_cache")),
        formula="key_cache[slots[t] // s, slots[t] % s] = key[t] / key_scale, rounded to the cache; value likewise",
        attributes={"key_scale": 1.0, "value_scale": 1.0},
        specials=(*_SPECIALS, Special(when="key / key_scale is beyond a float8 cache", then="saturates")),
        priced_as="elementwise",
        references=("Kwon et al., PagedAttention, arXiv:2309.06180, section 4.2",),
    ),
    Definition(
        name="latent_cache_write",
        family="kv_write",
        inputs=(
            Operand(name="cache", axes="b s c+r"),
            Operand(name="latent", axes="t c"),
            Operand(name="rotary", axes="t r"),
            _SLOTS,
        ),
        outputs=(Operand(name="cache", axes="b s c+r", kind="=cache"),),
        formula="cache[slots[t] // s, slots[t] % s] = latent[t], then rotary[t]",
        specials=_SPECIALS,
        priced_as="elementwise",
        references=("DeepSeek-V2, arXiv:2405.04434, section 2.1",),
    ),
    Definition(
        name="slot_mapping",
        family="kv_write",
        inputs=(
            Operand(name="positions", axes="t", kind="int64"),
            Operand(name="requests", axes="t", kind="index"),
            Operand(name="block_table", axes="r m", kind="int32"),
        ),
        outputs=(Operand(name="slots", axes="t", kind="int64"),),
        formula="slots[t] = block_table[requests[t], positions[t] // s] s + positions[t] % s",
        attributes={"block_size": 16},
        specials=(
            Special(when="positions[t] = -1", then="-1"),
            Special(when="a slot is beyond 2**31", then="exact, in 64 bits"),
        ),
    ),
    Definition(
        name="copy_blocks",
        family="kv_write",
        inputs=(_cache("cache"), Operand(name="pairs", axes="p 2", kind="int64")),
        outputs=(_cache("cache"),),
        formula="cache[pairs[p, 1]] = what cache[pairs[p, 0]] was before",
    ),
    Definition(
        name="gather_cache",
        family="kv_write",
        inputs=(
            _cache("cache"),
            Operand(name="block_table", axes="r m", kind="int32"),
            Operand(name="lengths", axes="r", kind="int32"),
        ),
        outputs=(Operand(name="y", axes="sum(lengths) h d", kind="=cache"),),
        formula="y = the first lengths[r] entries of each request, one after another",
    ),
    _integers("floor_divide", "y[n] = the largest integer at most x[n] / other[n]"),
    _integers("remainder", "y[n] = x[n] - other[n] floor(x[n] / other[n])"),
)
