"""Faults of decode attention."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dougong.backends import Array, Call
from dougong.backends.reference.paged_attention import merge_weights
from dougong.verify.mutant import Mutant
from dougong.verify.mutants.faults import after, at_extent, before, fixed, instead, wide, with_inputs


def _pages_swapped(call: Call) -> Call:
    if call.inputs["key_cache"].shape[1] != 16:
        return call
    table = call.inputs["block_table"].copy()
    table[:, :2] = table[:, 1::-1]
    return with_inputs(call, block_table=table)


def _in_order(call: Call) -> Call:
    """Pages taken one after the other from the first."""
    table = call.inputs["block_table"]
    pages = call.inputs["key_cache"].shape[0]
    return with_inputs(call, block_table=(table[:, :1] + np.arange(table.shape[1], dtype=np.int64)) % pages)


def _one_more(call: Call) -> Call:
    """The slot after the last is seen too, where its page has one."""
    lengths, page = call.inputs["lengths"], call.inputs["key_cache"].shape[1]
    return with_inputs(call, lengths=lengths + (lengths % page != 0))


def _one_less(call: Call) -> Call:
    return with_inputs(call, lengths=np.maximum(call.inputs["lengths"] - 1, call.inputs["q"].shape[1]))


def _whole_pages(call: Call) -> Call:
    page = call.inputs["key_cache"].shape[1]
    return with_inputs(call, lengths=-(-call.inputs["lengths"] // page) * page)


def _neighbour(call: Call) -> Call:
    table = call.inputs["block_table"].copy()
    if len(table) > 200:
        table[100] = table[99]
    return with_inputs(call, block_table=table)


def _short(call: Call) -> Call:
    """Only the first 65,536 keys are seen."""
    return with_inputs(call, lengths=np.minimum(call.inputs["lengths"], 65_536))


def _split_remainder(call: Call) -> Call:
    """Past 1,024 keys, what does not fill a split of 512 is left out."""
    lengths = call.inputs["lengths"]
    return with_inputs(call, lengths=np.where(lengths > 1024, lengths // 512 * 512, lengths))


def _scales(call: Call) -> Call:
    if "k_scale" not in call.inputs:
        return call
    return with_inputs(call, k_scale=call.inputs["v_scale"], v_scale=call.inputs["k_scale"])


def _same_key(call: Call) -> Call:
    """Every page of a sequence past the third is its third."""
    table = call.inputs["block_table"].copy()
    table[:, 3:] = table[:, 2:3]
    return with_inputs(call, block_table=table)


def _halves(call: Call) -> dict[str, Array]:
    return {"y": np.mean(np.nan_to_num(wide(call.inputs["parts"])), axis=0)}


def _poisoned(call: Call) -> dict[str, Array]:
    weight, _ = merge_weights(call)
    return {"y": np.sum(weight[..., None] * wide(call.inputs["parts"]), axis=0)}


def _drafts_see_all(call: Call) -> Call:
    return replace(
        call, inputs={**call.inputs, "q": np.repeat(call.inputs["q"][:, -1:], call.inputs["q"].shape[1], 1)}
    )


def _length_of_512(call: Call, y: Array) -> Array:
    y = wide(y)
    y[call.inputs["lengths"] == 512] *= 1.02
    return y


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="page-16-swapped",
        fault="with pages of 16 the first two pages change places",
        caught_by="paged_attention/page16",
        wrong=before("paged_attention", _pages_swapped),
        provenance=("sgl-project/sglang#38196",),
    ),
    Mutant(
        name="pages-in-order",
        fault="the table is read for the first page only",
        caught_by="paged_attention/page",
        wrong=before("paged_attention", _in_order),
    ),
    Mutant(
        name="stale-slot",
        fault="the slot after the last key is seen",
        caught_by="paged_attention/page",
        wrong=before("paged_attention", _one_more),
    ),
    Mutant(
        name="whole-pages",
        fault="the last page is seen whole",
        caught_by="paged_attention/page",
        wrong=before("paged_attention", _whole_pages),
    ),
    Mutant(
        name="newest-key-unseen",
        fault="a token does not see itself",
        caught_by="paged_attention/page",
        wrong=before("paged_attention", _one_less),
    ),
    Mutant(
        name="table-of-neighbour",
        fault="of more than 200 sequences one reads its neighbour's table",
        caught_by="paged_attention/batch257",
        wrong=before("paged_attention", _neighbour),
    ),
    Mutant(
        name="keys-past-65536",
        fault="keys past 65,536 are not seen",
        caught_by="paged_attention/context131072",
        wrong=before("paged_attention", _short),
        provenance=("vllm-project/vllm#54924",),
    ),
    Mutant(
        name="split-remainder",
        fault="past 1,024 keys the last, short split is dropped",
        caught_by="paged_attention/context",
        wrong=before("paged_attention", _split_remainder),
    ),
    Mutant(
        name="third-page-repeated",
        fault="every page past the third is the third",
        caught_by="paged_attention/page16",
        wrong=before("paged_attention", _same_key),
    ),
    Mutant(
        name="cache-scales-swapped",
        fault="keys have the scale of values and values that of keys",
        caught_by="paged_attention/cache-",
        wrong=before("paged_attention", _scales),
    ),
    Mutant(
        name="decode-window-ignored",
        fault="decode sees beyond the window",
        caught_by="paged_attention/window",
        wrong=fixed("paged_attention", window=0),
    ),
    Mutant(
        name="drafts-alike",
        fault="all tokens of a step are answered as the last",
        caught_by="paged_attention/tokens",
        wrong=before("paged_attention", _drafts_see_all),
    ),
    Mutant(
        name="decode-parts-averaged",
        fault="parts of the keys are merged with equal weight",
        caught_by="paged_attention/merge",
        wrong=instead("merge_attention", _halves),
    ),
    Mutant(
        name="empty-part-counts",
        fault="a part that saw nothing is multiplied by 0 and its NaN stays",
        caught_by="paged_attention/merge7-empty",
        wrong=instead("merge_attention", _poisoned),
    ),
    Mutant(
        name="batch-of-eight",
        fault="a batch of just 8 sequences is wrong",
        caught_by="paged_attention/extents-b",
        wrong=at_extent("paged_attention", "y", "q", 0, 8),
    ),
    Mutant(
        name="length-of-512",
        fault="a sequence of just 512 keys is wrong",
        caught_by="paged_attention/lengths-page16",
        wrong=after("paged_attention", "y", _length_of_512),
    ),
)
