"""Reads what publications say about parallelism; a closed set of small rules, and no guess without a note.

The words mean different things in different engines: vLLM's DP multiplies TP, SGLang's DP divides it, and a
plain "EP32" leaves the attention unsaid. The number of devices decides between readings; what stays open is
refused with the reason.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass

from dougong.backtest.case import PhaseLayout

_DEGREE = re.compile(r"\b(DEP|TEP|TP|PP|DP|CP|EP)\s?(\d{1,5})\b")
_UNKNOWN_DEGREE = re.compile(r"\b(?!(?:DEP|TEP|TP|PP|DP|CP|EP)\s?\d)([A-Z]{1,4}P)\s?\d{1,5}\b")
_REPLICAS = re.compile(r"^\s*(\d{1,4})\s*[x×]\s*(?:\(|TP|DP|EP|DEP|TEP)", re.IGNORECASE)
_INSTANCES = re.compile(
    r"(\d{1,4})\s+instances?\s*[x×]\s*(\d{1,4})\s+(?:GPU|NPU|chip|device|die)s?", re.IGNORECASE
)
_SOCKETS = re.compile(r"(\d{1,2})[\s-]+sockets?", re.IGNORECASE)
_SINGLE = re.compile(r"\b(single|one)\s+(device|GPU|NPU|chip|card|die)\b", re.IGNORECASE)
_SAID_PHASES = re.compile(r"PD:\s*(.+?)\s+prefill\s*\+\s*(.+?)\s+decode", re.IGNORECASE)
_REFUSED = (
    (re.compile(r"\bAFD\b|attention.disaggregat|disaggregated MoE-attention", re.IGNORECASE),
     "attention and experts run on different chips, which no layout here describes"),
    (re.compile(r"context parallel(?!\s*=?\s*\d)", re.IGNORECASE), "context parallelism without its degree"),
    (re.compile(r"\b\d+P\d+D\b"), "prefill and decode instances are counted, their layouts are not stated"),
    (re.compile(r"unstated|see README|see page", re.IGNORECASE), "the layout is not stated"),
)  # fmt: skip

ASSUME_WIDE = (
    "attention is read as data parallel over the {ep} expert ranks, as wide expert parallelism runs it"
)


@dataclass(frozen=True, slots=True)
class Words:
    """What one phrase says: degrees by name, flags, copies."""

    degrees: Mapping[str, int]
    replicas: int
    bare_ep: bool
    dp_attention: bool
    text: str
    alone: bool = False  # "one die": the rest of the machine idles


@dataclass(frozen=True, slots=True)
class Read:
    """Layouts of a run with what had to be assumed, or the reason why there are none."""

    layouts: Mapping[str, PhaseLayout]
    assumed: tuple[str, ...] = ()
    refused: str | None = None


def read_parallel(
    said: Mapping[str, object], *, devices: int | None, moe: bool, engine: str, disaggregated: bool = False
) -> Read:
    """Read the layouts of a run.

    Parameters
    ----------
    said
        Free text by phase: ``all``, ``prefill``, ``decode``, or ``node0`` ... with ``prefill_nodes`` and
        ``decode_nodes``.
    devices
        Devices of the run; None where the source does not count them.
    moe
        Whether the model routes to experts: data parallelism of a dense model is replication.
    engine
        As printed; tells which meaning DP has.
    disaggregated
        Whether prefill and decode run apart.

    Examples
    --------
    >>> str(read_parallel({"all": "DEP8"}, devices=8, moe=True, engine="TensorRT-LLM").layouts["all"])
    'TP1 DP8 EP8'
    """
    if any(re.fullmatch(r"node\d+", key) for key in said):
        return _read_nodes(said, devices, moe, engine)
    phrases = {phase: str(text) for phase, text in said.items() if text}
    if not phrases:
        if devices == 1:
            return Read({"all": PhaseLayout()}, ("no layout is stated; one device leaves no choice",))
        return Read({}, refused="the layout is not stated")
    if stranger := sorted(set(phrases) - {"all", "prefill", "decode"}):
        return Read({}, refused=f"the layout names a part we do not know: {stranger[0]!r}")
    if "all" in phrases and (both := _SAID_PHASES.search(phrases["all"])):
        phrases = {"prefill": both[1], "decode": both[2]}
    elif disaggregated and set(phrases) == {"all"}:
        return _split(phrases["all"], devices, moe, engine)
    words: dict[str, Words] = {}
    for phase, text in phrases.items():
        alone = devices if len(phrases) == 1 else None
        parsed = _words(text, alone, moe)
        if isinstance(parsed, str):
            return Read({}, refused=f"{parsed} ({text!r})")
        words[phase] = parsed
    return _choose(words, devices, moe, engine)


def _split(text: str, devices: int | None, moe: bool, engine: str) -> Read:
    """One phrase for a disaggregated run: the same layout for both phases, side by side or one at a time."""
    parsed = _words(text, None, moe)
    if isinstance(parsed, str):
        return Read({}, refused=f"{parsed} ({text!r})")
    each = _choose({"all": parsed}, None, moe, engine)
    if each.refused or devices is None:
        return each
    placed = each.layouts["all"]
    if devices == placed.devices:
        note = "both phases are read as measured one after the other on the same devices"
    elif devices == 2 * placed.devices:
        note = "one instance for prefill and one for decode, of the layout stated once"
    else:
        return Read({}, refused=f"how {devices} devices divide into prefill and decode is not stated")
    return Read({"prefill": placed, "decode": placed}, (*each.assumed, note))


def _refusal(text: str) -> str | None:
    return next((reason for pattern, reason in _REFUSED if pattern.search(text)), None)


def _degrees(text: str) -> dict[str, int]:
    return {name: int(number) for name, number in _DEGREE.findall(text)}


def _words(text: str, devices: int | None, moe: bool) -> Words | str:
    if found := _INSTANCES.search(text):
        count, width = int(found[1]), int(found[2])
        degrees = {"DEP": width} if moe and width > 1 else {"TP": width}
        return Words(degrees, count, False, False, text)
    replicas = int(found[1]) if (found := _REPLICAS.match(text)) else 1
    plain = text if found else re.sub(r"\([^)]*\)", " ", text)  # "(serve command in the post)" says no degree
    degrees = _degrees(plain)
    if strange := _UNKNOWN_DEGREE.search(plain):
        return f"the degree {strange[0]} is not one we read"
    if 0 in degrees.values():
        return "a degree of zero"
    bare_ep = re.search(r"\bEP\b(?!\s?\d)", plain) is not None
    if reason := _refusal(text):
        return reason
    if not degrees and devices is not None and (bare_ep or re.search(r"\bTP\b|sockets?", plain)):
        sockets = _SOCKETS.search(text)
        width = int(sockets[1]) if sockets else devices
        degrees = {"EP": width} if bare_ep else {"TP": width}
    if not degrees and (_SINGLE.search(text) or devices == 1):
        degrees = {"TP": 1}
    if not degrees:
        return "no degree of parallelism is stated"
    dp_attention = re.search(r"DP attention", plain, re.IGNORECASE) is not None
    return Words(degrees, replicas, bare_ep, dp_attention, text, alone=_SINGLE.search(text) is not None)


def _readings(words: Words, moe: bool, engine: str) -> list[tuple[PhaseLayout, tuple[str, ...]]]:
    """Every reading of a phrase, the most literal first."""
    degrees = dict(words.degrees)
    pp, cp, replicas = degrees.get("PP", 1), degrees.get("CP", 1), words.replicas
    if "DEP" in degrees or "TEP" in degrees:
        width = degrees.get("DEP", degrees.get("TEP", 1))
        tp, dp = (1, width) if "DEP" in degrees else (width, 1)
        return [_layout(tp, dp, cp, pp, width, replicas, moe)]
    tp, dp, ep = degrees.get("TP", 1), degrees.get("DP"), degrees.get("EP")
    if words.dp_attention and dp is None:
        ranks = degrees.get("TP", ep or 1)
        if ep is not None and ranks * cp % ep:
            return []
        layout, _ = _layout(1, ranks, cp, pp, ep or 1, replicas, moe)
        return [(layout, ("'DP attention' without a degree is read as one attention rank per device",))]
    if ep is not None and dp is None and ep > tp and ep % tp == 0:
        layout, _ = _layout(tp, ep // tp, cp, pp, ep, replicas, moe)
        return [(layout, (ASSUME_WIDE.format(ep=ep),))]
    dp = dp or 1
    if ep is not None and (ep > tp * dp * cp or tp * dp * cp % ep):
        return []
    bare = tp * dp * cp if words.bare_ep else 1
    product = _layout(tp, dp, cp, pp, ep or bare, replicas, moe)
    if dp == 1 or tp % dp or tp == 1:
        return [product]
    nested = _layout(tp // dp, dp, cp, pp, ep or (tp if words.bare_ep else 1), replicas, moe)
    return [nested, product] if "sglang" in engine.lower() else [product, nested]


def _layout(
    tp: int, dp: int, cp: int, pp: int, ep: int, replicas: int, moe: bool
) -> tuple[PhaseLayout, tuple[str, ...]]:
    if moe:
        return PhaseLayout.of(tp=tp, attn_dp=dp, cp=cp, pp=pp, ep=ep, replicas=replicas), ()
    layout = PhaseLayout.of(tp=tp, cp=cp, pp=pp, replicas=replicas * dp)
    return layout, ("data parallelism of a dense model is read as replicas",) if dp > 1 else ()


def _choose(words: Mapping[str, Words], devices: int | None, moe: bool, engine: str) -> Read:
    readings = {phase: _readings(phrase, moe, engine) for phase, phrase in words.items()}
    for phase, options in readings.items():
        if not options:
            return Read(
                {}, refused=f"attention and expert widths contradict each other ({words[phase].text!r})"
            )
    combinations = list(itertools.product(*readings.values()))
    chosen = combinations[0]
    assumed: list[str] = []
    if devices is not None and not any(phrase.alone for phrase in words.values()):
        exact = [combo for combo in combinations if sum(layout.devices for layout, _ in combo) == devices]
        if exact:
            chosen = exact[0]
        else:
            grown = _grow(combinations, devices)
            if grown is None:
                total = sum(layout.devices for layout, _ in chosen)
                return Read({}, refused=f"the layout fills {total} devices and the run has {devices}")
            chosen, note = grown
            assumed.append(note)
    layouts = dict(zip(readings, (layout for layout, _ in chosen), strict=True))
    assumed += [note for _, notes in chosen for note in notes]
    layouts, notes = _experts(layouts, words, moe, engine)
    return Read(layouts, tuple(dict.fromkeys([*assumed, *notes])))


_Combo = tuple[tuple[PhaseLayout, tuple[str, ...]], ...]


def _grow(combinations: list[_Combo], devices: int) -> tuple[_Combo, str] | None:
    # A source that counts more devices than its layout fills runs several copies; only whole ones are read.
    for combo in combinations:
        rest = devices - sum(layout.devices for layout, _ in combo[1:])
        first, notes = combo[0]
        if rest > first.devices and rest % first.devices == 0:
            copies = rest // first.devices * first.replicas
            return ((PhaseLayout(layout=first.layout, replicas=copies), notes), *combo[1:]), (
                f"{devices} devices are counted, so {copies} copies of {first.layout} are read"
            )
    return None


def _experts(
    layouts: Mapping[str, PhaseLayout], words: Mapping[str, Words], moe: bool, engine: str
) -> tuple[dict[str, PhaseLayout], list[str]]:
    """Give wide data-parallel attention its expert parallelism where the source leaves it unsaid."""
    changed, notes = dict(layouts), list[str]()
    for phase, placed in layouts.items():
        cut = placed.layout
        unsaid = not words[phase].bare_ep and not {"EP", "DEP", "TEP"} & set(words[phase].degrees)
        wide = cut.attn_dp > 1 and (cut.devices > 8 or "ascend" in engine.lower())
        if moe and unsaid and cut.ep == 1 and wide:
            changed[phase] = PhaseLayout.of(
                tp=cut.tp,
                attn_dp=cut.attn_dp,
                cp=cut.cp,
                pp=cut.pp,
                ep=cut.tp * cut.attn_dp * cut.cp,
                replicas=placed.replicas,
            )
            notes.append(
                f"expert parallelism over all {cut.tp * cut.attn_dp * cut.cp} attention devices is assumed"
            )
    return changed, notes


def _read_nodes(said: Mapping[str, object], devices: int | None, moe: bool, engine: str) -> Read:
    """VLLM's external data parallelism: text per node, roles per node, one group spanning nodes of a role."""
    nodes = {int(key[4:]): str(text) for key, text in said.items() if re.fullmatch(r"node\d{1,4}", key)}
    if devices is None or devices % len(nodes):
        return Read({}, refused=f"{devices} devices do not divide over {len(nodes)} nodes")
    per_node, ep = devices // len(nodes), bool(said.get("ep"))
    layouts: dict[str, PhaseLayout] = {}
    for phase in ("prefill", "decode"):
        listed = re.findall(r"\d{1,4}", str(said.get(f"{phase}_nodes", "")))
        members = [int(number) for number in listed]
        texts = {nodes.get(number) for number in members}
        if len(texts) != 1 or None in texts:
            return Read({}, refused=f"the {phase} nodes are missing or differ from each other")
        parsed = _words(str(texts.pop()), None, moe)
        if isinstance(parsed, str):
            return Read({}, refused=parsed)
        options = _readings(
            Words(parsed.degrees, 1, ep or parsed.bare_ep, parsed.dp_attention, parsed.text), moe, engine
        )
        width = options[0][0].devices if options else 0
        if not width or per_node * len(members) % width:
            return Read(
                {}, refused=f"{parsed.text} does not divide {per_node * len(members)} {phase} devices"
            )
        layouts[phase] = PhaseLayout(
            layout=options[0][0].layout, replicas=per_node * len(members) // width * options[0][0].replicas
        )
    return Read(layouts)
