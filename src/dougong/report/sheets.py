"""What a catalog record says, as one flat sheet of facts and figures: what is drawn and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dougong.catalog.hardware import Chip, Domain, Price, System
from dougong.catalog.models import Core, Experts, Layer, Model
from dougong.facts import Figure, Source, Unknown
from dougong.report.numbers import UNKNOWN, compact, exact, parameters, plural, quantity

Value = Figure | Unknown
Record = Chip | System | Model | Source | tuple[Price, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A record, flat."""

    kind: str
    id: str
    title: str
    facts: Mapping[str, str]
    values: Mapping[str, Value]
    counts: Mapping[str, float] = field(default_factory=dict[str, float])
    layers: tuple[Layer, ...] = ()
    note: str = ""


def sheet_of(record_id: str, record: Record) -> Sheet:
    """Return the sheet of any record."""
    if isinstance(record, Chip):
        return _chip(record)
    if isinstance(record, System):
        return _system(record)
    if isinstance(record, Model):
        return _model(record)
    if isinstance(record, Source):
        return _source(record)
    return _prices(record_id, record)


def _said(**facts: str | int | None) -> dict[str, str]:
    return {name.replace("_", " "): str(value) for name, value in facts.items() if value not in ("", None)}


def _chip(chip: Chip) -> Sheet:
    facts = _said(
        vendor=chip.vendor,
        status=chip.status,
        year=chip.year,
        kind=chip.kind,
        one_chip_is=f"{chip.unit}, {plural(chip.dies, 'die')}, {plural(chip.devices, 'device')} of a runtime",
        process=chip.process,
        memory=chip.memory_kind,
        sold_in=f"scale-up domains of {exact(chip.scale_up_size)}" if chip.scale_up_size > 1 else "",
        scale_up=chip.scale_up_name,
        runtime=chip.runtime,
        torch_device=chip.torch_device,
        not_supported=", ".join(chip.not_supported),
        aliases=", ".join(chip.aliases),
    )
    return Sheet(
        kind="chip", id=chip.id, title=chip.name, facts=facts, values=dict(chip.figures()), note=chip.note
    )


def _system(system: System) -> Sheet:
    facts = _said(
        vendor=system.vendor,
        status=system.status,
        chips=f"{exact(system.num_chips)} × {system.chip.id} (dougong catalog show {system.chip.id})",
        node=f"{exact(system.chips_per_node)} chips",
        racks=system.racks,
        domains="; ".join(_domain(domain) for domain in system.domains),
        aliases=", ".join(system.aliases),
    )
    return Sheet(
        kind="system",
        id=system.id,
        title=system.name,
        facts=facts,
        values=dict(system.figures()),
        note=system.note,
    )


def _domain(domain: Domain) -> str:
    return f"{domain.name} of {exact(domain.size)} by {domain.plane.replace('_', '-')}, {domain.topology}"


def _source(source: Source) -> Sheet:
    facts = _said(publisher=source.publisher, date=source.date, kind=source.kind, address=source.address)
    return Sheet(kind="source", id=source.id, title=source.title, facts=facts, values={}, note=source.note)


def _prices(list_id: str, prices: tuple[Price, ...]) -> Sheet:
    values: dict[str, Value] = {}
    for price in prices:
        key = " ".join(filter(None, (price.subject, price.kind, price.region, str(price.year or ""))))
        values[key] = price.value
        if price.all_in_power is not None:
            values[f"{key} all-in power"] = price.all_in_power
    notes = dict.fromkeys(price.note for price in prices if price.note)
    return Sheet(
        kind="price",
        id=list_id,
        title=plural(len(prices), "price"),
        facts={},
        values=values,
        note=" ".join(notes),
    )


def _model(model: Model) -> Sheet:
    facts = _said(
        vendor=model.vendor,
        family=model.family,
        license=model.license,
        base=f"{model.base} ({model.relation})" if model.base and model.relation else model.base,
        parameters=_counted(model.parameters(), model.published_total),
        active=_counted(model.active_parameters(), model.published_active),
        layers=model.num_layers,
        hidden_size=model.hidden_size,
        vocabulary=exact(model.vocab_size) + (", tied to the head" if model.tied_embeddings else ""),
        context=f"{exact(model.max_context_tokens)} tokens",
        stored_in=", ".join(_dtypes(model)),
        multiplied_in=model.activation_dtype,
        KV_cache=_kept(model),
        drafting=f"{plural(model.mtp_num, 'token')} by its own module" if model.mtp_num else "",
        not_priced="; ".join(model.absent),
        aliases=", ".join(model.aliases),
        sources=", ".join(model.sources),
    )
    values = {
        key: value
        for key, value in (
            ("published total", model.published_total),
            ("published active", model.published_active),
        )
        if value is not None
    }
    return Sheet(
        kind="model",
        id=model.id,
        title=model.name,
        facts=facts,
        values=values,
        counts={"parameters": model.parameters(), "active": model.active_parameters()},
        layers=(*model.layers, *model.mtp_layers),
        note=" ".join(model.notes),
    )


def _kept(model: Model) -> str:
    from dougong.cost.memory import kv_bytes_per_token  # numpy is not wanted by who lists chips
    from dougong.ops.cache import state_bytes

    said = [f"{exact(kv_bytes_per_token(model))} bytes a token in {model.default_kv_dtype}"]
    if any(layer.core.window for layer in model.layers if not layer.core.shares_cache):
        said[0] += ", until windows are full"
    if state := sum(
        layer.count * state_bytes(layer.core, model.default_kv_dtype, 1.0) for layer in model.layers
    ):
        said.append(f"a state of {quantity(float(state), 'byte')} a sequence")
    return "; ".join(said)


def _counted(count: int, published: Value | None) -> str:
    said = f"{exact(count)} computed"
    if not isinstance(published, Figure):
        return said
    return f"{said}, {parameters(published)} published ({(count / published - 1) * 100:+.2f} %)"


def _dtypes(model: Model) -> list[str]:
    stored = {linear.dtype for _, linear in model.each_linear()}
    return sorted(stored | {layer.experts.dtype for layer in model.layers if layer.experts})


def core_words(core: Core) -> str:
    """Return an attention core in words."""
    if core.kind == "none":
        return "none"
    said = [f"{core.kind}, {plural(core.num_heads, 'head')}"]
    if core.kind == "full":
        said.append(f"{core.num_kv_heads} for keys and values of {core.qk_dim}")
    if core.kind == "mla":
        said.append(f"latent {core.latent_dim} + {core.rope_dim}")
    if core.kind == "linear":
        said.append(f"state of {compact(core.state_values)} values")
    if core.window is not None:
        said.append(f"window {exact(core.window)}")
    if core.top_k is not None:
        said.append(f"reads {exact(core.top_k)} of the entries")
    if core.compress > 1:
        said.append(f"one entry per {core.compress} tokens")
    if core.shares_cache:
        said.append("shares a cache")
    return ", ".join(said)


def experts_words(experts: Experts | None) -> str:
    """Return a bank of experts in words."""
    return UNKNOWN if experts is None else f"{experts.top_k} of {experts.num}, {exact(experts.ffn_size)} wide"
