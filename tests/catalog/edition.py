"""The figures of the catalog as one flat table, to be compared with those of the last edition.

``python tests/catalog/edition.py`` writes the table of the edition that ``data/EDITION`` names. That is done
when an edition is released, together with the fragments becoming the change log.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from dougong.catalog import Catalog
from dougong.facts import Figure, Unknown

HERE = Path(__file__).parent
FRAGMENTS = HERE.parents[1] / "changelog.d"

Table = Mapping[str, str]


def snapshot(edition: str) -> Path:
    """The file that holds the figures of an edition."""
    return HERE / f"edition-{edition}.json"


def figures(catalog: Catalog) -> dict[str, str]:
    """``kind id key`` -> the figure as its source prints it, with our reading and its basis."""
    return {name: words(value) for name, value in sorted(_values(catalog))}


def _values(catalog: Catalog) -> Iterator[tuple[str, Figure | Unknown]]:
    for kind, read in (("chip", catalog.chip), ("system", catalog.system)):
        for record_id in catalog.ids(kind):
            for key, value in read(record_id).figures():
                # A domain without a figure of its own repeats the link of its chip.
                if value.record == record_id:
                    yield f"{kind} {record_id} {key}", value
    for record_id in catalog.ids("model"):
        model = catalog.model(record_id)
        for key, value in (("total", model.published_total), ("active", model.published_active)):
            if value is not None:
                yield f"model {record_id} published.{key}", value
    for list_id in catalog.ids("price"):
        for price in catalog.price_list(list_id):
            yield f"price {price.id}", price.value
            if price.all_in_power is not None:
                yield f"price {price.id} all_in_power", price.all_in_power


def words(value: Figure | Unknown) -> str:
    """One line of the table."""
    if isinstance(value, Unknown):
        return "unknown"
    reading = f" = {value.read_as}" if value.read_as else ""
    basis = " ".join(part for part in (value.per and f"per {value.per}", value.direction) if part)
    return f"{value.printed}{reading}" + (f" ({basis})" if basis else "")


def differences(old: Table, new: Table) -> list[str]:
    """What changed, one line a figure: gone, new, or another value."""
    lines = [f"{key}: {old[key]} -> gone" for key in old if key not in new]
    lines += [f"{key}: new, {new[key]}" for key in new if key not in old]
    lines += [f"{key}: {old[key]} -> {new[key]}" for key in old if key in new and old[key] != new[key]]
    return sorted(lines)


def news(folder: Path = FRAGMENTS) -> list[str]:
    """Fragments of type ``figure``: the sentences that tell a user what changed, and why."""
    return sorted(path.name for path in folder.glob("*.figure.md"))


def complaint(changes: list[str], fragments: list[str]) -> str | None:
    """What to say of changes that no fragment tells; None where there is nothing to say."""
    if not changes or fragments:
        return None
    shown = "\n  ".join(changes[:40] + ([f"and {len(changes) - 40} more"] if len(changes) > 40 else []))
    return (
        f"{len(changes)} figures differ from the last edition, and changelog.d has no fragment of type figure:"
        f"\n  {shown}\nwrite changelog.d/+<topic>.figure.md: which figures, and why"
    )


if __name__ == "__main__":
    shipped = Catalog.open()
    text = json.dumps(figures(shipped), indent=0, ensure_ascii=False)
    snapshot(shipped.edition()).write_text(text + "\n", encoding="utf-8")
