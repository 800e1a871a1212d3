"""Invented records, every figure sourced to this module, for tests that need no real catalog."""

from __future__ import annotations

from collections.abc import Mapping

from dougong.catalog.hardware import Chip, Domain, Price, System
from dougong.catalog.models import Core, Experts, Layer, Linear, Model
from dougong.facts import Figure, Source, Unknown

SOURCE = Source(id="invented", title="Invented for tests")
NOWHERE = Unknown("nobody says", "invented", "figure")


def figure(value: float, key: str = "figure") -> Figure:
    """An invented figure in base units."""
    return Figure(value, printed=f"{value:g}", source=SOURCE.id, grade="estimate", record="invented", key=key)


def tiny_chip(
    *,
    bf16: float = 100e12,
    fp8: float | None = None,
    int8: float | None = None,
    capacity: float = 32e9,
    bandwidth: float = 1e12,
    devices: int = 1,
    name: str = "invented-t1",
) -> Chip:
    """A chip with the given dense rates [FLOP/s], memory [byte] and bandwidth [byte/s]."""
    rates: dict[str, Figure | Unknown] = {"bf16": figure(bf16, "compute.bf16.dense")}
    if fp8 is not None:
        rates["fp8_e4m3"] = figure(fp8, "compute.fp8_e4m3.dense")
    if int8 is not None:
        rates["int8"] = figure(int8, "compute.int8.dense")
    return Chip(
        id=name,
        name=name,
        vendor="Invented",
        unit="package",
        status="invented",
        dies=devices,
        devices=devices,
        compute_dense=rates,
        memory_capacity=figure(capacity, "memory.capacity"),
        memory_bandwidth=figure(bandwidth, "memory.bandwidth"),
        power_tdp=figure(300.0, "power.tdp"),
    )


def tiny_system(
    chip: Chip | None = None,
    *,
    chips: int = 8,
    node: int | None = None,
    link: float | Unknown = 100e9,
    fabric: float | Unknown = 25e9,
    latency: float | Unknown = NOWHERE,
    name: str = "invented-s1",
) -> System:
    """Chips in nodes of ``node`` joined by ``link`` [byte/s], nodes joined by ``fabric`` [byte/s]."""

    def value(number: float | Unknown, key: str) -> Figure | Unknown:
        return number if isinstance(number, Unknown) else figure(number, key)

    node = chips if node is None else node
    domains = [
        Domain(
            name="node",
            plane="scale_up",
            size=node,
            topology="switched",
            bandwidth=value(link, "domain.node.bandwidth"),
            latency=value(latency, "domain.node.latency"),
        )
    ]
    if node < chips:
        domains.append(
            Domain(
                name="cluster",
                plane="scale_out",
                size=chips,
                topology="switched",
                bandwidth=value(fabric, "domain.cluster.bandwidth"),
                latency=value(latency, "domain.cluster.latency"),
            )
        )
    return System(
        id=name,
        name=name,
        vendor="Invented",
        status="invented",
        chip=chip or tiny_chip(),
        num_chips=chips,
        domains=tuple(domains),
        chips_per_node=node,
    )


def _attention(hidden: int, heads: int, kv_heads: int, dim: int, dtype: str) -> tuple[Linear, ...]:
    def linear(name: str, inputs: int, outputs: int, shard: str, ways: int) -> Linear:
        return Linear(
            name=name, group="attention", inputs=inputs, outputs=outputs, shard=shard, ways=ways, dtype=dtype
        )

    return (
        linear("q_proj", hidden, heads * dim, "column", heads),
        linear("k_proj", hidden, kv_heads * dim, "column", kv_heads),
        linear("v_proj", hidden, kv_heads * dim, "column", kv_heads),
        linear("o_proj", heads * dim, hidden, "row", heads),
    )


def dense_model(
    *,
    hidden: int = 1024,
    layers: int = 8,
    heads: int = 16,
    kv_heads: int = 4,
    ffn: int = 4096,
    vocab: int = 32_000,
    window: int | None = None,
    dtype: str = "bf16",
    name: str = "invented-dense",
) -> Model:
    """A decoder with grouped-query attention and gated feed-forward layers."""
    dim = hidden // heads
    mats = (
        Linear(name="gate_proj", group="dense_ffn", inputs=hidden, outputs=ffn, shard="column", dtype=dtype),
        Linear(name="up_proj", group="dense_ffn", inputs=hidden, outputs=ffn, shard="column", dtype=dtype),
        Linear(name="down_proj", group="dense_ffn", inputs=ffn, outputs=hidden, shard="row", dtype=dtype),
    )
    core = Core(kind="full", num_heads=heads, num_kv_heads=kv_heads, qk_dim=dim, v_dim=dim, window=window)
    layer = Layer(
        name="dense",
        count=layers,
        core=core,
        linears=_attention(hidden, heads, kv_heads, dim, dtype) + mats,
        other_parameters=2 * hidden,
    )
    return _model(name, hidden, vocab, (layer,))


def moe_model(
    *,
    hidden: int = 1024,
    layers: int = 8,
    heads: int = 16,
    kv_heads: int = 4,
    experts: int = 32,
    top_k: int = 4,
    ffn: int = 512,
    vocab: int = 32_000,
    dtype: str = "bf16",
    name: str = "invented-moe",
) -> Model:
    """A decoder whose feed-forward layers route to experts beside one shared expert."""
    dim = hidden // heads
    mats = (
        Linear(name="gate", group="router", inputs=hidden, outputs=experts),
        Linear(
            name="shared_up",
            group="shared_expert",
            inputs=hidden,
            outputs=2 * ffn,
            shard="column",
            dtype=dtype,
        ),
        Linear(
            name="shared_down", group="shared_expert", inputs=ffn, outputs=hidden, shard="row", dtype=dtype
        ),
    )
    core = Core(kind="full", num_heads=heads, num_kv_heads=kv_heads, qk_dim=dim, v_dim=dim)
    layer = Layer(
        name="experts",
        count=layers,
        core=core,
        linears=_attention(hidden, heads, kv_heads, dim, dtype) + mats,
        experts=Experts(num=experts, top_k=top_k, inputs=hidden, ffn_size=ffn, dtype=dtype),
        other_parameters=2 * hidden,
    )
    return _model(name, hidden, vocab, (layer,))


def _model(name: str, hidden: int, vocab: int, layers: tuple[Layer, ...]) -> Model:
    return Model(
        id=name,
        name=name,
        vendor="Invented",
        family="invented",
        hidden_size=hidden,
        vocab_size=vocab,
        layers=layers,
        head=Linear(name="lm_head", group="head", inputs=hidden, outputs=vocab, shard="column"),
        tied_embeddings=False,
        max_context_tokens=1 << 20,
        embedding_parameters=hidden * vocab,
    )


class Shelf:
    """A catalog of given records: what planning needs of one, and nothing on disk."""

    def __init__(
        self,
        *,
        models: Mapping[str, Model],
        systems: Mapping[str, System],
        prices: Mapping[str, tuple[Price, ...]] | None = None,
    ) -> None:
        self._models, self._systems, self._prices = models, systems, prices or {}

    def model(self, name: str) -> Model:
        """The model of this id."""
        return self._models[name]

    def system(self, name: str) -> System:
        """The system of this id."""
        return self._systems[name]

    def prices(self, subject: str) -> tuple[Price, ...]:
        """Prices of a subject."""
        return self._prices.get(subject, ())

    def source(self, source_id: str) -> Source:
        """The one source there is."""
        return SOURCE

    def edition(self) -> str:
        """A fixed edition."""
        return "invented"

    def content_hash(self) -> str:
        """A fixed hash."""
        return "invented"
