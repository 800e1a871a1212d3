"""Writes a deployment as one shell script: every node's engines, the router between two pools, the gateway."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence

from dougong import __version__
from dougong.engines.placement import Placed, host_word
from dougong.engines.port import Routed
from dougong.errors import InputError

KEY_WORD = "DOUGONG-ENGINE-KEY"
"""The word that stands for the secret of the engines; a shell need not quote it."""

ROUTER_PORT, GATEWAY_PORT = 30_000, 8000

_HOST = re.compile(re.escape(host_word(0)).replace("0", r"(\d+)"))
_NIC = ("GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME", "HCCL_SOCKET_IFNAME")

_HEAD = """\
#!/usr/bin/env bash
# {title}
# {count}; written by dougong {version}. Nothing in here was run: read it before you do.
#
# The same file on every node, and the same three variables:
#   HOSTS="ADDRESS …"   addresses of the {nodes} node(s), in order
#   ENGINE_KEY=…        a secret that the engines share, as from: openssl rand -hex 32
#   NIC=NAME            network card that joins the nodes, where it has to be said
#
#   bash FILE 0         on the first node: its engines, until Ctrl-C; 1 on the second, and so on
#   bash FILE gateway   anywhere: what clients ask, at port {port}; LISTEN and KEYS open it to other machines
set -euo pipefail
read -r -a NODES <<< "${{HOSTS:?addresses of the nodes, in order}}"
if [ "${{#NODES[@]}}" -ne {nodes} ]; then
  echo "HOSTS names ${{#NODES[@]}} node(s), and {nodes} are wanted" >&2
  exit 2
fi
: "${{ENGINE_KEY:?a secret that the engines share}}"
if [ -n "${{NIC:-}}" ]; then
  export {nic}
fi
trap 'trap - EXIT; kill $(jobs -p) 2>/dev/null; wait' EXIT INT TERM

case "${{1:-}}" in
"""

_TAIL = """\
*)
  echo "which node is this? 0 to {last}, or gateway" >&2
  exit 2
  ;;
esac
wait -n  # the first that ends, ends all of this node
"""


def write_script(placed: Sequence[Placed], title: str) -> str:
    """Return the script.

    Parameters
    ----------
    placed
        Who runs where, made with ``key=KEY_WORD``.
    title
        What is deployed, for the first line.

    Raises
    ------
    InputError
        Two pools of an engine that names no router.
    """
    nodes = max(one.node for one in placed) + 1
    replicas = sum(one.answers for one in placed)
    nic = " ".join(f'{name}="$NIC"' for name in _NIC)
    head = {
        "title": " ".join(title.split()),
        "count": f"{replicas} replica(s) on {nodes} node(s)",
        "version": __version__,
        "nodes": nodes,
        "port": GATEWAY_PORT,
        "nic": nic,
    }
    lines = [_HEAD.format(**head)]
    for node in range(nodes):
        lines.append(f"{node})\n")
        lines += [_process(one) for one in placed if one.node == node]
        lines.append("  ;;\n")
    lines += ["gateway)\n", _gateway(placed), "  ;;\n", _TAIL.format(last=nodes - 1)]
    return "".join(lines)


def _process(one: Placed) -> str:
    request, command = one.request, one.command
    devices = f", devices {_span(request.devices)}" if request.devices else ""
    where = f", node {request.node.rank + 1} of {request.node.nodes}" if request.node else ""
    notes = [f"  # {note}\n" for note in command.notes]
    env = {name: value for name, value in command.env.items() if name not in command.secrets}
    env |= {name: KEY_WORD for name in command.env if name in command.secrets}
    words = ["python3" if word == sys.executable else word for word in command.argv]
    told = [f"{name}={value}" for name, value in env.items()]
    text = _filled(shlex.join(["env", *told, *words] if told else words))
    return f"  # {one.name}: {request.parallel}{devices}{where}\n{''.join(notes)}  {_folded(text)} &\n"


def _gateway(placed: Sequence[Placed]) -> str:
    """Return the router where there are two pools, and the gateway in front."""
    answering = [one for one in placed if one.answers]
    direct = [_url(one) for one in answering if one.request.role == "both"]
    router = ""
    if not direct:
        engine = answering[0].group.engine
        if not isinstance(engine, Routed):
            raise InputError(f"{engine.name} names no router between prefill and decode replicas")
        pairs = [(_url(one), one.request) for one in answering if one.request.role == "prefill"]
        decode = [_url(one) for one in answering if one.request.role == "decode"]
        made = engine.router(pairs, decode, port=ROUTER_PORT, key=KEY_WORD)
        told = ["env", *(f"{name}={value}" for name, value in made.env.items())] if made.env else []
        notes = "".join(f"  # {note}\n" for note in made.notes)
        router = f"{notes}  {_folded(_filled(shlex.join([*told, *made.argv])))} &\n"
        direct = [f"http://127.0.0.1:{ROUTER_PORT}"]
    asked = _filled(shlex.join([word for url in direct for word in ("--replica", url)]))
    serve = f"dougong serve {_folded(asked)} --port {GATEWAY_PORT}"
    listen = '--host "${LISTEN:-127.0.0.1}" ${KEYS:+--keys "$KEYS"}'
    return f'{router}  DOUGONG_REPLICA_KEY="$ENGINE_KEY" {serve} {listen} &\n'


def _url(one: Placed) -> str:
    return f"http://{host_word(one.node)}:{one.request.port}"


def _filled(text: str) -> str:
    """Put the shell's own words where ours stood."""
    text = text.replace(KEY_WORD, '"$ENGINE_KEY"')
    return _HOST.sub(lambda match: f'"${{NODES[{match[1]}]}}"', text)


def _folded(text: str) -> str:
    """Break a command before each of its flags."""
    return re.sub(r" (?=--[a-z])", " \\\n    ", text)


def _span(devices: Sequence[int]) -> str:
    first, last = devices[0], devices[-1]
    return f"{first}" if first == last else f"{first}-{last}"
