"""Which files of a repository make a model: GGUF pieces, or safetensors with what belongs to them; never pickles."""

from __future__ import annotations

import re
from collections.abc import Collection

from dougong.errors import InputError

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_PIECE = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
_BESIDE = (".json", ".txt", ".model", ".tiktoken", ".jinja")
_BEST_LABELS = ("Q4_K_M", "Q5_K_M", "Q4_1", "Q4_0", "Q8_0")


def choose_files(paths: Collection[str], selector: str | None, source: str) -> tuple[str, tuple[str, ...]]:
    """Return the format and the files of the model that ``selector`` means.

    Parameters
    ----------
    paths
        Every file of the repository.
    selector
        The name of a GGUF file, or a part of it such as ``Q4_K_M``; None for safetensors, or the only GGUF.

    Raises
    ------
    InputError
        Nothing fits, several do, or there are only pickles, which may run anything when they are read.
    """
    ggufs = sorted(path for path in paths if path.lower().endswith(".gguf"))
    if selector is not None:
        return "gguf", _one_gguf(ggufs, selector, source)
    weights = sorted(path for path in paths if path.endswith(".safetensors") and "/" not in path)
    if weights and "config.json" in paths:
        beside = [path for path in paths if "/" not in path and path.endswith(_BESIDE)]
        return "safetensors", tuple(sorted({*weights, *beside}))
    if ggufs:
        return "gguf", _one_gguf(ggufs, None, source)
    if any(path.endswith(_PICKLES) for path in paths):
        raise InputError(
            f"{source} holds its weights as pickles only, which may run anything when they are read",
            hint="take a conversion to safetensors or GGUF",
        )
    missing = "config.json" if weights else "safetensors or GGUF weights"
    raise InputError(f"{source} holds no model that can be served: no {missing}")


def _one_gguf(ggufs: list[str], selector: str | None, source: str) -> tuple[str, ...]:
    # An mmproj file is the eye of a model, not a model.
    models: dict[str, list[str]] = {}
    for path in ggufs:
        if "mmproj" not in path.lower():
            models.setdefault(_PIECE.sub(".gguf", path), []).append(path)
    found = [name for name in models if selector is None or name == selector]
    if not found and selector is not None:
        found = [name for name in models if selector.lower() in name.lower()]
    if len(found) > 1 and selector is None:
        labelled = [[name for name in found if label in name.upper()] for label in _BEST_LABELS]
        found = next((names for names in labelled if len(names) == 1), found)
    if len(found) != 1:
        said = f"{selector!r} fits none" if not found else f"{len(found)} files fit"
        if not models:
            raise InputError(f"{source} holds no GGUF file")
        shown = ", ".join(sorted(models)[:8]) + (", …" if len(models) > 8 else "")
        raise InputError(
            f"{source}: {said}", hint=f"name one after a colon, {source}:NAME; there are {shown}"
        )
    pieces = models[found[0]]
    match = _PIECE.search(pieces[0])
    if match is not None and len(pieces) != int(match[2]):
        raise InputError(f"{source}: {found[0]} has {len(pieces)} of its {int(match[2])} pieces")
    return tuple(pieces)
