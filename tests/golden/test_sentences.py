"""What the first sentence and the order of an answer say, on hand-built answers with one thing changed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import samples

from dougong.plan.types import Infeasible, Interval, Plan, Refusal, Sensitivity
from dougong.report.compare import comparison_sentence, draw_comparison
from dougong.report.plan import asked, draw_answer, infeasible_sentence, plan_sentence
from dougong.report.terminal import render
from dougong.report.why import refusals_section, why_section
from dougong.workload import Limit, Workload

RULE = Refusal(reason="heads-divide", count=9000, example="TP3", detail="Heads must divide.", remedy="r")
MEMORY = Refusal(
    reason="memory", count=3, example="TP1", detail="a device needs 9 GB and has 8 GB", remedy="r"
)
ONE_LOAD = Refusal(
    reason="load", count=5, example="TP1", detail="colocated: at most 2 requests/s", remedy="r"
)
OTHER_LOAD = dataclasses.replace(ONE_LOAD, count=1, detail="disaggregated: at most 3 requests/s")


def no(*refusals: Refusal, **more: object) -> Infeasible:
    return dataclasses.replace(samples.INFEASIBLE, refusals=refusals, **{"nearest": None, **more})


def one_token() -> Plan:
    workload = Workload(prompt_tokens=4096, output_tokens=1)
    option = dataclasses.replace(samples.option(10.0), tpot_s=Interval(0.0, 0.0, 0.0))
    request = dataclasses.replace(samples.REQUEST, workload=workload, limit=Limit())
    return dataclasses.replace(samples.PLAN, request=request, options=(option,), pareto=())


@pytest.mark.parametrize(
    ("answer", "because"),
    [
        (no(RULE, MEMORY), "as asked: a device needs 9 GB and has 8 GB."),  # a rule narrows, memory decides
        (no(ONE_LOAD, RULE, OTHER_LOAD), "at most 2 requests/s; disaggregated: at most 3 requests/s."),
        (no(RULE), "as asked: Heads must divide."),  # one full stop
        (no(), "as asked."),
        (
            no(MEMORY, nearest=dataclasses.replace(samples.option(5.0, tpot_s=0.07), ttft_s=samples.spread(3.0))),
            "has TTFT 3 s where 2 s is the limit and TPOT 70 ms where 50 ms is the limit.",
        ),
    ],
)  # fmt: skip
def test_a_no_says_what_decides(answer: Infeasible, because: str) -> None:
    assert infeasible_sentence(answer).endswith(because)


def test_a_no_without_refusals_has_no_empty_table() -> None:
    assert "Why not" not in render(draw_answer(no()))
    assert "Why not" not in render(draw_comparison([no()]))


def test_the_nearest_that_keeps_the_limits_carries_less() -> None:
    keeps = no(ONE_LOAD, nearest=samples.option(5.0))
    assert "Nearest  example-pod, carries less than is asked" in render(draw_answer(keeps))
    assert "Nearest  example-pod, breaks a limit" in render(draw_answer(samples.INFEASIBLE))


def test_one_output_token_has_no_pace() -> None:
    plan = one_token()
    assert "at TTFT " in plan_sentence(plan)
    text = render(draw_answer(plan))
    assert "output 1 token " in text
    assert "TPOT         none: " in text
    assert "TPOT" not in next(line for line in text.splitlines() if line.strip().startswith("#"))
    row = next(line for line in render(draw_comparison([plan])).splitlines() if line.startswith("  TPOT"))
    assert row.split() == ["TPOT", "–"]


def test_one_output_token_has_no_front(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from dougong.report.pictures import comparison_picture, plan_picture
    from dougong.report.pictures.front import NO_PACE

    for name, draw in (("plan", plan_picture), ("both", lambda plan, path: comparison_picture([plan], path))):
        path = tmp_path / f"{name}.svg"
        draw(one_token(), path)
        assert NO_PACE in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("objective", "workload", "priced", "order"),
    [
        ("throughput", {}, True, "by tokens/s per chip at hand"),
        ("throughput", {"users": 5.0}, True, "by tokens/s per chip in use"),
        ("latency", {}, True, "by TPOT, then TTFT"),
        ("chips", {"rate_requests_per_s": 5.0}, True, "by chips in use"),
        ("cost", {}, True, "by USD per million output tokens"),
        ("cost", {}, False, "by tokens/s per chip at hand"),
    ],
)
def test_the_ranking_says_what_it_goes_by(
    objective: str, workload: dict[str, float], priced: bool, order: str
) -> None:
    request = dataclasses.replace(
        samples.REQUEST,
        objective=objective,
        workload=dataclasses.replace(samples.REQUEST.workload, **workload),
    )
    winner = samples.option(5.0)
    if not priced:
        winner = dataclasses.replace(winner, usd_per_million_output_tokens=None)
    plan = dataclasses.replace(samples.PLAN, request=request, options=(winner,))
    assert f"Ranked  {order}" in render(draw_answer(plan))


def test_words_agree_in_number() -> None:
    plan = dataclasses.replace(samples.PLAN, options=(dataclasses.replace(samples.option(5.0), users=1.0),))
    assert "1 request in flight" in render(draw_answer(plan))
    assert "1 of 1 system can serve" in comparison_sentence([plan])
    slow = dataclasses.replace(samples.REQUEST.workload, rate_requests_per_s=1.0)
    assert " · 1 request/s · " in asked(dataclasses.replace(samples.REQUEST, workload=slow))


def of_system(name: str, *notes: str) -> Plan:
    option = dataclasses.replace(samples.option(5.0), system=name)
    return dataclasses.replace(samples.PLAN, options=(option,), notes=notes)


def test_a_comparison_says_whose_a_note_is() -> None:
    text = render(
        draw_comparison([of_system("pod-a", "grid: world", "TDP only"), of_system("pod-b", "grid: world")])
    )
    assert "  - pod-a: TDP only\n  - grid: world\n" in text
    assert text.count("grid: world") == 1


def test_a_comparison_of_many_stays_readable() -> None:
    names = [f"supernode-number-{number}" for number in range(5)]
    for width, most in ((60, 1), (110, 4), (140, 5)):
        lines = render(draw_comparison([of_system(name) for name in names]), width=width).splitlines()
        heads = [line.split() for line in lines if line.strip().startswith("supernode")]
        assert [name for head in heads for name in head] == names
        assert max(map(len, heads)) == most


def test_no_system_at_all() -> None:
    assert (
        comparison_sentence([no(RULE), no(MEMORY)]) == "No: none of 2 systems can serve example-moe as asked."
    )
    assert comparison_sentence([no(MEMORY)]).startswith("No: example-moe cannot be served on example-pod")


def test_refusals_alike_are_one_line() -> None:
    text = render(refusals_section([RULE, MEMORY, dataclasses.replace(RULE, count=1000)]))
    assert text.count("Heads must divide.") == 1
    assert "10,000  heads-divide" in text


@pytest.mark.parametrize(
    ("gain", "said"),
    [(0.064, "+6.4 %"), (0.0007, "<0.1 %"), (0.0001, "nothing"), (-0.02, "-2.0 %"), (0.25, "+25 %")],
)
def test_what_a_tenth_more_buys(gain: float, said: str) -> None:
    knob = Sensitivity(knob="compute", gain_frac=gain)
    why = dataclasses.replace(samples.PLAN.explanation, sensitivities=(knob,))
    row = next(line for line in render(why_section(why)).splitlines() if line.strip().startswith("compute"))
    assert row.split(maxsplit=1)[1] == said


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        ("throughput", "example-pod gives most per chip"),
        ("cost", "example-pod costs least, 0.213 USD per million output tokens"),
        ("latency", "example-pod is quickest, TPOT 47.3 ms"),
        ("chips", "example-pod takes fewest, 256 chips"),
    ],
)
def test_a_comparison_is_told_by_its_objective(objective: str, said: str) -> None:
    request = dataclasses.replace(samples.REQUEST, objective=objective)
    ours = dataclasses.replace(samples.PLAN, request=request)
    dear = dataclasses.replace(
        samples.PLAN.options[0],
        system="dear-pod",
        chips=300,
        tpot_s=Interval(0.06, 0.05, 0.07),
        output_tokens_per_s_per_chip=Interval(900.0, 800.0, 1000.0),
        usd_per_million_output_tokens=1.0,
    )
    theirs = dataclasses.replace(ours, options=(dear,))
    assert said in comparison_sentence([theirs, ours])
