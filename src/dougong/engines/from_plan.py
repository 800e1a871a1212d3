"""From what ``dougong plan --json`` wrote to launch requests: one per pool of replicas."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from dougong.catalog.hardware import System
from dougong.catalog.store import Catalog
from dougong.engines.platforms import PLATFORMS
from dougong.engines.port import LaunchRequest, Model, Parallel
from dougong.errors import InputError

SCHEMAS = (1, 2)
FILE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPool:
    """Replicas of one role, as a plan has them.

    Attributes
    ----------
    request
        One of them, without its ports and secret.
    replicas
        How many the plan wants.
    chip
        Catalog id of the chip.
    ttft_s, tpot_s
        What the plan predicts [s].
    """

    request: LaunchRequest
    replicas: int
    chip: str
    ttft_s: float | None
    tpot_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One option of a plan, ready to be launched.

    Attributes
    ----------
    model_id
        The plan's model in the catalog.
    notes
        What the plan assumes and no flag can say.
    """

    model_id: str
    system: str
    pools: tuple[PlannedPool, ...]
    notes: tuple[str, ...]


def read_plan(path: Path, catalog: Catalog, *, option: int = 1, model: Model | None = None) -> Planned:
    """Read a plan's file.

    Parameters
    ----------
    option
        Which of its options, counted from 1.
    model
        The model as it lies here; None names its repository, which the engine fetches itself.

    Raises
    ------
    InputError
        The file is no plan, is a no, or has no such option.
    """
    plan = _read(path)
    request = _mapping(plan, "request", path)
    options = plan.get("options")
    if not isinstance(options, list) or not options:
        raise InputError(f"{path}: the plan has no options")
    listed = cast(list[object], options)
    if not 1 <= option <= len(listed):
        raise InputError(f"--option {option}: the plan has {len(listed)}")
    chosen = listed[option - 1]
    if not isinstance(chosen, dict):
        raise InputError(f"{path}: options[{option - 1}] is no record")
    try:
        return _planned(plan, request, cast(dict[str, Any], chosen), catalog, model)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: a plan without {error}, or with it in another form", hint="write it anew"
        ) from error


def repository(model_id: str, catalog: Catalog) -> str | None:
    """Return the repository of a catalog's model: the alias of the form ``owner/name``."""
    record = catalog.model(model_id)
    aliases: tuple[str, ...] = getattr(record, "aliases", ())
    return next((alias for alias in aliases if alias.count("/") == 1), None)


def platform_of(vendor: str, torch_device: str = "") -> str | None:
    """Return the platform of a chip by its vendor, and by its torch device where a vendor has several."""
    found = [platform for platform in PLATFORMS.values() if vendor in platform.vendors]
    exact = [platform for platform in found if platform.torch_device == torch_device]
    return (exact or found)[0].name if found else ("cpu" if torch_device == "cpu" else None)


def model_of(model_id: str, catalog: Catalog) -> Model:
    """Return a catalog's model as its repository has it; the engine fetches it itself."""
    where = repository(model_id, catalog) or model_id
    said = {"model_type": catalog.model(model_id).family}
    return Model(location=where, format="safetensors", name=model_id, source=f"hf:{where}", config=said)


def replica(
    model: Model, system: System, *, context_tokens: float, draft_tokens: int, kv_dtype: str | None
) -> LaunchRequest:
    """Return what every replica of a plan on ``system`` shares.

    Raises
    ------
    InputError
        No engine is known for the chip.
    """
    chip = system.chip
    platform = "cpu" if chip.kind == "cpu" else platform_of(chip.vendor, chip.torch_device)
    if platform is None:
        raise InputError(f"{system.id}: no engine is known for {chip.name}, {chip.runtime}")
    return LaunchRequest(
        model=model,
        served_name=model.name,
        platform=platform,
        context_tokens=math.ceil(context_tokens),
        draft_tokens=draft_tokens,
        kv_dtype=kv_dtype,
        node_devices=system.chips_per_node * chip.devices,
    )


def _planned(
    plan: Mapping[str, Any],
    request: Mapping[str, Any],
    option: Mapping[str, Any],
    catalog: Catalog,
    model: Model | None,
) -> Planned:
    model_id, system_id = str(request["model"]), str(option["system"])
    system = catalog.system(system_id)
    load = request["workload"]
    context = request.get("max_context_tokens") or load["prompt_tokens"] + load["output_tokens"]
    one = replica(
        model or model_of(model_id, catalog),
        system,
        context_tokens=float(context),
        draft_tokens=int(request.get("draft_tokens") or 0),
        kv_dtype=request.get("kv_dtype"),
    )
    cuts = {str(pool["phase"]): _parallel(pool["layout"]) for pool in option["pools"]}
    pools: list[PlannedPool] = []
    for pool in option["pools"]:
        phase = str(pool["phase"])
        peers = [cut for other, cut in cuts.items() if other != phase]
        launch = replace(
            one,
            parallel=cuts[phase],
            max_sequences=max(1, round(float(pool["sequences_per_replica"]))),
            chunk_tokens=None if phase == "decode" else max(1, round(float(pool["tokens_per_step"]))),
            role=phase,
            peer=peers[0] if peers else None,
        )
        pools.append(
            PlannedPool(
                request=launch,
                replicas=int(pool["replicas"]),
                chip=system.chip.id,
                ttft_s=float(option["ttft_s"]["value"]),
                tpot_s=float(option["tpot_s"]["value"]),
            )
        )
    notes = [f"the plan assumes {plan['precision_note']}"] if plan.get("precision_note") else []
    return Planned(model_id=model_id, system=system_id, pools=tuple(pools), notes=tuple(notes))


def _parallel(layout: Mapping[str, Any]) -> Parallel:
    return Parallel(**{name: int(layout[name]) for name in ("tp", "pp", "cp", "attn_dp", "ep")})


def _read(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES + 1)
        told: object = json.loads(raw) if len(raw) <= FILE_BYTES else None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(
            f"{path}: this is no JSON ({error})", hint="write one with: dougong plan … --json"
        ) from error
    if not isinstance(told, dict):
        raise InputError(f"{path}: this is no plan", hint="write one with: dougong plan … --json")
    plan = cast(dict[str, Any], told)
    if plan.get("kind") == "infeasible":
        raise InputError(f"{path}: this plan is a no; nothing of it can be served")
    if plan.get("kind") != "plan" or plan.get("schema") not in SCHEMAS:
        raise InputError(
            f"{path}: a plan of schema {' or '.join(map(str, SCHEMAS))} is read; this is "
            f"{plan.get('kind', 'something else')!r} of schema {plan.get('schema')!r}",
            hint="write one with: dougong plan … --json",
        )
    return plan


def _mapping(plan: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any]:
    found = plan.get(key)
    if not isinstance(found, dict):
        raise InputError(f"{path}: the plan has no {key}")
    return cast(dict[str, Any], found)
