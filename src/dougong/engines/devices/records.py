"""What is found on a machine; values only."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One device as a vendor's tool or torch tells it.

    Attributes
    ----------
    index
        Its number on its platform.
    memory_bytes
        Its memory as told [byte]; None where nothing is told.
    """

    index: int
    name: str
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one tool told: devices, driver, stack."""

    devices: tuple[Seen, ...]
    driver: str | None = None
    stack: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One device of this machine.

    Attributes
    ----------
    chip
        Catalog id; None where no record fits, or several do.
    could_be
        Ids that fit equally well, where there are several.
    driver
        Version of the driver, as its tool says.
    via
        What told of it: a tool's name, or ``torch``.
    """

    platform: str
    index: int
    name: str
    memory_bytes: int | None
    chip: str | None
    could_be: tuple[str, ...] = ()
    driver: str | None = None
    via: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One vendor's tool that is installed here.

    Attributes
    ----------
    state
        ``read``, ``failed``, ``timeout``, or ``unread`` where its output is in a form that we do not know.
    """

    name: str
    platform: str
    state: str
    detail: str = ""
    driver: str | None = None
    stack: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One installed package that matters, with its version."""

    package: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The CPU side.

    Attributes
    ----------
    cores, threads
        Physical cores and hardware threads, of all sockets; None where nothing tells.
    usable
        Threads that this process may run on.
    memory_bytes
        Main memory [byte].
    instructions
        Instruction sets that matter to inference, in the words of the operating system.
    """

    name: str
    chip: str | None
    machine: str
    system: str
    sockets: int | None
    cores: int | None
    threads: int | None
    usable: int
    memory_bytes: int | None
    instructions: tuple[str, ...] = ()
    could_be: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Everything that was found."""

    host: Host
    devices: tuple[Device, ...] = ()
    tools: tuple[Tool, ...] = ()
    stacks: tuple[Stack, ...] = ()
    torch: tuple[str, ...] = field(default=())  # what torch said, or why it said nothing
