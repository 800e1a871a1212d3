"""How prefill and decode replicas of vLLM hand over the KV cache: NIXL, and Mooncake on Ascend.

NixlConnector is that of vLLM 0.33.0, MooncakeConnectorV1 that of vLLM-Ascend, commit 182b75e of 2026-08-22.
"""

from __future__ import annotations

from collections.abc import Sequence

from dougong.engines.port import LaunchRequest, Parallel, Router

_NIXL_PORT = 5600  # vLLM's own default (vllm/envs.py)
_ASCEND_PORT, _ASCEND_PORTS_PER_DEVICE = 20_000, 1_000
"""Mooncake's direct transport draws its ports from 20,000 upwards, 1,000 per device of a node (vLLM-Ascend,
pd_disaggregation_mooncake_multi_node.md); the port of the handshake must lie above them."""


def transfer_faults(request: LaunchRequest) -> list[str]:
    """Return what the connectors refuse: NixlConnector of 0.33.0, MooncakeConnectorV1 of vLLM-Ascend."""
    cut, ascend = request.parallel, request.platform == "ascend"
    faults: list[str] = []
    if request.role == "decode":
        if cut.pp > 1:
            faults.append(f"a decode replica takes no cache over pipeline stages, and PP is {cut.pp}")
        if cut.cp > 1 and not ascend:
            faults.append(f"a decode replica takes no cache over context parallelism, and CP is {cut.cp}")
    if request.role != "both" and ascend:
        prefill, decode = _both_cuts(request)
        if prefill.tp < decode.tp:
            faults.append(
                f"TP of prefill must be that of decode or more, and {prefill.tp} is less than {decode.tp}"
            )
        if cut.pp > 1 and cut.cp > 1:
            faults.append(f"PP {cut.pp} and CP {cut.cp} cannot both hand over a cache")
    return faults


def _both_cuts(request: LaunchRequest) -> tuple[Parallel, Parallel]:
    """Return how prefill and decode are cut."""
    own = request.parallel
    other = request.peer or own
    return (own, other) if request.role == "prefill" else (other, own)


def _transfer_port(request: LaunchRequest) -> int:
    """Return where a replica hands over; replicas of a node keep apart by their first device."""
    if request.transfer_port is not None:
        return request.transfer_port
    first = request.devices[0] if request.devices else 0
    if request.platform != "ascend":
        return _NIXL_PORT + first
    per_node = max(request.node_devices or 16, 8)
    return _ASCEND_PORT + _ASCEND_PORTS_PER_DEVICE * per_node + first


def transfer(request: LaunchRequest) -> dict[str, object]:
    """Return what ``--kv-transfer-config`` says of a prefill or decode replica."""
    role = "kv_producer" if request.role == "prefill" else "kv_consumer"
    if request.platform != "ascend":
        return {"kv_connector": "NixlConnector", "kv_role": role}
    # The plugin's connector has to know how both sides are cut.
    sizes: dict[str, dict[str, int]] = {}
    for name, cut in zip(("prefill", "decode"), _both_cuts(request), strict=True):
        sizes[name] = {"dp_size": cut.attn_dp, "tp_size": cut.tp}
        if cut.pp > 1:
            sizes[name]["pp_size"] = cut.pp
    return {
        "kv_connector": "MooncakeConnectorV1",
        "kv_role": role,
        "kv_port": str(_transfer_port(request)),
        "kv_connector_extra_config": sizes,
    }


def transfer_env(request: LaunchRequest) -> dict[str, str]:
    """Return where NIXL listens for the other side; Mooncake has it in its configuration."""
    if request.role == "both" or request.platform == "ascend":
        return {}
    return {
        "VLLM_NIXL_SIDE_CHANNEL_HOST": request.host,
        "VLLM_NIXL_SIDE_CHANNEL_PORT": str(_transfer_port(request)),
    }


def router(
    prefill: Sequence[tuple[str, LaunchRequest]], decode: Sequence[str], *, port: int, key: str
) -> Router:
    """Return what stands between the pools: vllm-router 0.1.17, or the example server of vLLM-Ascend."""
    here = ("--host", "127.0.0.1", "--port", str(port))
    urls = [url for url, _ in prefill]
    if prefill[0][1].platform != "ascend":
        pairs = [("--prefill", url) for url in urls] + [("--decode", url) for url in decode]
        asked = (word for pair in pairs for word in pair)
        return Router(
            argv=("vllm-router", "--vllm-pd-disaggregation", *asked, *here),
            env={"OPENAI_API_KEY": key},
            notes=("pip install vllm-router",),
        )
    words: list[str] = []
    for side, listed in (("prefiller", urls), ("decoder", decode)):
        places = [url.removeprefix("http://").rpartition(":") for url in listed]
        words += [f"--{side}-hosts", *(host for host, _, _ in places)]
        words += [f"--{side}-ports", *(at for _, _, at in places)]
    return Router(
        argv=("python3", "load_balance_proxy_server_example.py", *here, *words),
        env={"OPENAI_API_KEY": key},
        notes=("the server is in examples/disaggregated_prefill_v1 of vLLM-Ascend's repository",),
    )
