"""What planning needs of a catalog; any object with these methods will do."""

from __future__ import annotations

from typing import Protocol

from dougong.catalog.hardware import Price, System
from dougong.catalog.models import Model
from dougong.facts import Source


class Records(Protocol):
    """Models, systems, prices and their sources by id."""

    def model(self, name: str) -> Model:
        """The model of this id, alias or path."""
        ...

    def system(self, name: str) -> System:
        """The system of this id, alias, or ``N x chip``."""
        ...

    def prices(self, subject: str) -> tuple[Price, ...]:
        """Prices of a chip, a system, ``electricity`` or ``grid``."""
        ...

    def source(self, source_id: str) -> Source:
        """The document of this id."""
        ...

    def edition(self) -> str:
        """The calendar edition of the records."""
        ...

    def content_hash(self) -> str:
        """A digest of every record read so far."""
        ...
