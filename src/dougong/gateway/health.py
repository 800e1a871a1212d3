"""Asks every replica how it is, and an unnamed one what it serves."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any, cast

from dougong.gateway.pool import Member, Pool
from dougong.gateway.settings import Settings
from dougong.gateway.upstream import UpstreamError

_SHORTEST_S = 0.1  # between two checks, however many requests fail
_DOWN_AFTER = 2  # failed checks in a row; a refused connection is enough by itself
_LONGEST_LIST_BYTES = 4 << 20


class Health:
    """The watch over a pool."""

    def __init__(
        self, settings: Settings, pool: Pool, tell: Callable[..., None], on_down: Callable[[Member], None]
    ) -> None:
        self.settings, self.pool, self.tell, self.on_down = settings, pool, tell, on_down
        self._failed: dict[Member, int] = {}
        self._by_models: set[Member] = set()
        self._doubt = asyncio.Event()

    def doubt(self) -> None:
        """Check now: something failed."""
        self._doubt.set()

    async def watch(self) -> None:
        """Check all replicas for ever, at the latest when the time comes."""
        while True:
            self._doubt.clear()
            await self.check_all()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._doubt.wait(), self.settings.health_every_s)
                await asyncio.sleep(_SHORTEST_S)

    async def check_all(self) -> None:
        """Check every replica once, side by side."""
        await asyncio.gather(*(self.check(member) for member in self.pool.members))

    async def check(self, member: Member) -> bool:
        """Check one replica and note the result."""
        try:
            async with asyncio.timeout(self.settings.health_timeout_s):
                well = await self._ask(member)
            refused = False
        except (UpstreamError, TimeoutError) as fault:
            well, refused = False, isinstance(fault, UpstreamError)
        self._failed[member] = 0 if well else self._failed.get(member, 0) + 1
        was = member.healthy
        if well:
            member.healthy = True
        elif refused or self._failed[member] >= _DOWN_AFTER:
            member.healthy = False
        if member.healthy != was:
            self.tell("replica_up" if well else "replica_down", replica=member.name)
            if not well:
                self.on_down(member)
            self.pool.pump()
        return well

    async def _ask(self, member: Member) -> bool:
        if member not in self._by_models:
            status, _ = await self._get(member, member.replica.health_path.encode())
            if status in (404, 405):
                self._by_models.add(member)
            elif status != 200:
                return False
        if member in self._by_models or not member.models:
            status, body = await self._get(member, b"/v1/models")
            if member.models:
                return status < 500  # it is there; what it serves was said
            if status != 200:
                return False
            member.models = frozenset(_ids(body))
        return True

    async def _get(self, member: Member, path: bytes) -> tuple[int, bytes]:
        with await member.client.send(b"GET", path, fresh=True) as exchange:
            await exchange.connection.wait_head()
            return exchange.status, await exchange.read_all(_LONGEST_LIST_BYTES)


def _ids(body: bytes) -> list[str]:
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        return []
    data = cast(dict[str, Any], value).get("data") if isinstance(value, dict) else None
    entries = cast(list[Any], data) if isinstance(data, list) else []
    ids = [cast(dict[str, Any], entry).get("id") for entry in entries if isinstance(entry, dict)]
    return [name for name in ids if isinstance(name, str)]
