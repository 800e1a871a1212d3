import pytest

from dougong.backtest.layouts import read_parallel


def text(said, devices, *, moe=True, engine="vLLM", pd=False):
    read = read_parallel(said, devices=devices, moe=moe, engine=engine, disaggregated=pd)
    assert read.refused is None, read.refused
    for placed in read.layouts.values():
        assert not list(placed.faults())
    return {phase: str(placed) for phase, placed in read.layouts.items()}


@pytest.mark.parametrize(
    ("said", "devices", "engine", "expected"),
    [
        ("TP8", 8, "vLLM", "TP8"),
        ("TP8 tuned", 8, "SGLang", "TP8"),
        ("TP8 (serve command in the post)", 8, "vLLM", "TP8"),
        ("DEP8", 8, "TensorRT-LLM", "TP1 DP8 EP8"),
        ("TP4 EP4", 4, "vllm 0.18.0", "TP4 EP4"),
        ("TP8 DP2 EP", 16, "vLLM-Ascend", "TP8 DP2 EP16"),
        ("TP16 + EP on one A3 node", 16, "vLLM-Ascend", "TP16 EP16"),
        ("TP16 DP16", 16, "SGLang (Ascend)", "TP1 DP16 EP16"),  # SGLang's DP divides TP
        ("TP32 DP16", 32, "SGLang (Ascend)", "TP2 DP16 EP32"),
        ("TP16 DP2", 32, "vLLM-Ascend", "TP16 DP2 EP32"),  # vLLM's DP multiplies it
        ("PP8", 8, "TensorRT-LLM 1.0", "TP1 PP8"),
        ("EP2", 2, "vLLM", "TP1 DP2 EP2"),
        ("single NPU stated on the page", 1, "MindIE", "TP1"),
        ("TP across sub-NUMA clusters, 2 socket(s)", 2, "SGLang CPU", "TP2"),
        ("2 sockets", 2, "llama.cpp", "TP2"),
        ("TP8 + DP attention", 8, "SGLang", "TP1 DP8 ETP8"),
        ("TP1", 4, "vLLM", "4 x (TP1)"),
    ],
)
def test_one_phrase(said, devices, engine, expected):
    assert text({"all": said}, devices, engine=engine) == {"all": expected}


def test_one_die_of_two_stays_one():
    assert text({"all": "TP1 (one die)"}, 2, moe=False) == {"all": "TP1"}


def test_dense_data_parallelism_is_replication():
    assert text({"all": "TP4 DP2"}, 8, moe=False) == {"all": "2 x (TP4)"}


@pytest.mark.parametrize(
    ("said", "devices", "engine", "expected"),
    [
        (
            {"prefill": "2 x (TP16, DP4)", "decode": "TP32 DP32"},
            64,
            "SGLang (Ascend)",
            {"prefill": "2 x (TP4 DP4 EP16)", "decode": "TP1 DP32 EP32"},
        ),
        (
            {"prefill": "10 x (TP1 DP4 EP4)", "decode": "1 x (TP1 DP16 EP16)"},
            56,
            "trtllm",
            {"prefill": "10 x (TP1 DP4 EP4)", "decode": "TP1 DP16 EP16"},
        ),
        (
            {"prefill": "4 instances x 2 GPUs", "decode": "1 instance x 8 GPUs"},
            16,
            "vLLM",
            {"prefill": "4 x (TP1 DP2 EP2)", "decode": "TP1 DP8 EP8"},
        ),
        ({"decode": "EP320 DP320"}, 320, "CloudMatrix-Infer", {"decode": "TP1 DP320 EP320"}),
        (
            {"prefill": "EP32, 32 dies (16 chips) per instance, 10 experts per rank"},
            32,
            "CloudMatrix-Infer",
            {"prefill": "TP1 DP32 EP32"},
        ),
        (
            {"prefill": "EP32 (routed) DP32 (MLA, shared), 4 nodes"},
            32,
            "DeepSeek in-house",
            {"prefill": "TP1 DP32 EP32"},
        ),
        ({"all": "PD: TP4 prefill + TP4 decode"}, 8, "vLLM", {"prefill": "TP4", "decode": "TP4"}),
    ],
)
def test_phases(said, devices, engine, expected):
    assert text(said, devices, engine=engine) == expected


def test_nodes_of_a_role_hold_one_group_or_several_copies():
    said = {
        "node0": "DP2 TP8", "node1": "DP2 TP8", "node2": "DP32 TP1", "node3": "DP32 TP1",
        "prefill_nodes": "0, 1", "decode_nodes": "2, 3", "ep": True,
    }  # fmt: skip
    expected = {"prefill": "2 x (TP8 DP2 EP16)", "decode": "TP1 DP32 EP32"}
    assert text(said, 64, engine="vLLM-Ascend", pd=True) == expected


@pytest.mark.parametrize(
    ("said", "devices", "pd", "words"),
    [
        ({"all": "1P1D"}, 32, True, "not stated"),
        ({"all": "16 cards"}, 32, False, "no degree"),
        ({"decode": "AFD 64 attention + 16 FFN dies"}, 80, True, "attention and experts"),
        ({"all": "TP8 + decode context parallel"}, 8, False, "without its degree"),
        ({"all": "TP8"}, 4, False, "fills 8 devices"),
        ({"all": "TP8 XYZP4"}, 8, False, "not one we read"),
        ({"all": "TP6 EP4"}, 6, False, "contradict"),
        ({"all": "TP0"}, 1, False, "zero"),
        ({"somewhere": "TP8"}, 8, False, "do not know"),
        ({}, 8, False, "not stated"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(said, devices, pd, words):
    read = read_parallel(said, devices=devices, moe=True, engine="vLLM", disaggregated=pd)
    assert read.refused is not None
    assert words in read.refused
    assert not read.layouts


def test_nothing_said_on_one_device_leaves_no_choice():
    read = read_parallel({}, devices=1, moe=False, engine="vLLM")
    assert str(read.layouts["all"]) == "TP1"
    assert read.assumed
