"""Reads the record file of a model: its maker, what was published, its configuration under its own keys.

A derivative names its ``base`` and may leave out ``[config]``: it then has its base's, changed by
``[config_override]``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import cast

from dougong.catalog.files import Table
from dougong.catalog.hf import read_config
from dougong.catalog.models import Model
from dougong.errors import CatalogError, UnsupportedModel
from dougong.facts import Figure

RELATIONS = ("fine-tune", "quantised", "distilled", "pruned", "pre-train")
"""How a derivative came from its base; ``pre-train``: the same shape, trained anew."""

Raw = Mapping[str, object]
BaseConfig = Callable[[str], "Raw | None"]


def read_model(
    raw: Raw, expected_id: str, *, where: str, base_config: BaseConfig, faults: list[str],
    sources: Collection[str] | None,
) -> Model | None:  # fmt: skip
    """Read one record; faults are appended, and None is returned where there were any.

    Parameters
    ----------
    raw
        The parsed file.
    expected_id
        The name of the file.
    where
        The file, as it shall appear in faults.
    base_config
        Gives the configuration of another record, for derivatives; None where that record has faults.
    sources
        Known source ids; None leaves them unchecked.
    """
    before = len(faults)
    table = Table(raw, where=where, record=expected_id, faults=faults, sources=sources)
    table.count("schema", most=1)
    record_id = table.identifier("id", expected=expected_id)
    name, vendor, licence = table.text("name"), table.text("vendor"), table.text("license", "")
    aliases, notes, absent = table.texts("aliases"), table.texts("notes"), table.texts("absent")
    base = table.text("base", "")
    relation = table.text("relation", choices=RELATIONS) if base else ""
    config_source = table.text("config_source")
    table.text("config_at", "")  # for the reader of the file
    if config_source and sources is not None and config_source not in sources:
        table.fault(f"no source is called {config_source!r}", "config_source")
    published = table.table("published")
    total = published.figure("total_parameters", "parameter", absent="the record gives no published total")
    active = published.figure("active_parameters", "parameter", absent="the record gives no active count")
    published.close()
    table.close(also=("config", "config_override"))
    config = merged_config(raw, table, base_config)
    if len(faults) > before or config is None:
        return None
    try:
        model = read_config(config, id=record_id, name=name, vendor=vendor)
    except CatalogError as error:
        faults += [f"{where}: config: {fault}" for fault in error.faults]
        return None
    except UnsupportedModel as error:
        faults.append(f"{where}: config: {error.message}")
        return None
    cited = [config_source, *(figure.source for figure in (total, active) if isinstance(figure, Figure))]
    return replace(
        model, aliases=aliases, license=licence, base=base or None, relation=relation,
        published_total=total, published_active=active,
        absent=tuple(dict.fromkeys((*model.absent, *absent))), notes=(*notes, *model.notes),
        sources=tuple(dict.fromkeys(source for source in cited if source)),
    )  # fmt: skip


def merged_config(raw: Raw, table: Table, base_config: BaseConfig) -> Raw | None:
    """The configuration of a record: its own, or its base's with the overrides laid over it."""
    own, override = raw.get("config"), raw.get("config_override")
    base = raw.get("base")
    if own is not None:
        if override is not None:
            table.fault("stands beside config; a record has one or the other", "config_override")
        if not isinstance(own, Mapping):
            table.fault("a table is wanted here", "config")
            return None
        return cast("Raw", own)
    if not isinstance(base, str) or not base:
        table.fault("is missing, and there is no base to take it from", "config")
        return None
    inherited = base_config(base)
    if inherited is None:
        return None
    if override is None:
        return inherited
    if not isinstance(override, Mapping):
        table.fault("a table is wanted here", "config_override")
        return None
    return {**inherited, **cast("Raw", override)}
