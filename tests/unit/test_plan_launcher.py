"""Plans for somebody who is to launch them: what a launcher refuses is not in the answer, and the no tells why."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable

import pytest

from dougong.errors import InputError
from dougong.plan import Infeasible, Plan, PlanRequest, make_plan
from dougong.plan.layouts import REASONS
from dougong.plan.types import Layout, Option
from dougong.report.plan import infeasible_sentence
from dougong.testing import Shelf, moe_model, tiny_system
from dougong.workload import Workload

MODEL, SYSTEM = moe_model(), tiny_system(chips=16, node=8)
SHELF = Shelf(models={MODEL.id: MODEL}, systems={SYSTEM.id: SYSTEM})
Word = Callable[[Layout, str, Layout | None], str]


class Picky:
    """A launcher that says a word, and counts how often it is asked the same."""

    def __init__(self, word: Word) -> None:
        self.word, self.asked = word, Counter[tuple[Layout, str, Layout | None]]()

    def against(self, layout: Layout, role: str, peer: Layout | None = None) -> str:
        self.asked[layout, role, peer] += 1
        return self.word(layout, role, peer)


def ask(word: Word | None, **words):
    request = PlanRequest(
        model=MODEL.id,
        systems=(SYSTEM.id,),
        workload=Workload(prompt_tokens=1000.0, output_tokens=100.0),
        launchable=None if word is None else "picky",
        **words,
    )
    picky = Picky(word or (lambda *_: ""))
    answer = make_plan(request, SHELF, None if word is None else lambda _: picky)
    assert max(picky.asked.values(), default=1) == 1, "a launcher is asked once"
    return answer


def every(answer: Plan) -> list[Option]:
    return [*answer.options, *answer.pareto]


def cuts(option: Option) -> dict[str, Layout]:
    return {pool.phase: pool.layout for pool in option.pools}


@pytest.mark.parametrize("mode", ["auto", "colocated", "disaggregated"])
def test_one_that_launches_anything_changes_nothing(mode: str) -> None:
    free, asked = ask(None, mode=mode), ask(lambda *_: "", mode=mode)
    assert isinstance(free, Plan)
    assert isinstance(asked, Plan)
    assert [dataclasses.replace(one, pools=()) for one in asked.options] == [
        dataclasses.replace(one, pools=()) for one in free.options
    ]
    assert [cuts(option) for option in asked.options] == [cuts(option) for option in free.options]
    assert asked.refusals == free.refusals
    assert asked.explanation == free.explanation


def test_what_it_refuses_by_role_is_in_no_option() -> None:
    def word(layout: Layout, role: str, _: Layout | None) -> str:
        return "no decoding over two" if role == "decode" and layout.tp == 2 else ""

    free, asked = ask(None, mode="disaggregated"), ask(word, mode="disaggregated")
    assert isinstance(free, Plan)
    assert isinstance(asked, Plan)
    assert any(cuts(option)["decode"].tp == 2 for option in every(free)), "else nothing is shown"
    assert all(cuts(option)["decode"].tp != 2 for option in every(asked))
    assert any(refusal.detail == "no decoding over two" for refusal in asked.refusals)


def test_pairs_that_cannot_hand_over_are_in_no_option() -> None:
    def word(layout: Layout, role: str, peer: Layout | None) -> str:
        wrong = peer is not None and role == "prefill" and layout.tp <= peer.tp
        return "prefill must be wider" if wrong else ""

    free, asked = ask(None, mode="disaggregated"), ask(word, mode="disaggregated")
    assert isinstance(free, Plan)
    assert isinstance(asked, Plan)
    assert any(cuts(option)["prefill"].tp <= cuts(option)["decode"].tp for option in every(free))
    assert all(cuts(option)["prefill"].tp > cuts(option)["decode"].tp for option in every(asked))
    (told,) = [refusal for refusal in asked.refusals if refusal.reason == "launchable"]
    assert " as prefill beside " in told.example
    assert asked.options[0].output_tokens_per_s.value <= free.options[0].output_tokens_per_s.value


@pytest.mark.parametrize("mode", ["auto", "colocated", "disaggregated"])
@pytest.mark.parametrize("peered", [False, True])
def test_one_that_launches_nothing_is_the_reason(mode: str, peered: bool) -> None:
    answer = ask(
        lambda _, role, peer: "out of order" if role == "both" or not peered or peer else "", mode=mode
    )
    assert isinstance(answer, Infeasible)
    assert {refusal.reason for refusal in answer.refusals} <= {*REASONS} - {"memory", "load", "devices"}
    assert (
        infeasible_sentence(answer)
        == f"No: {MODEL.id} cannot be served on {SYSTEM.id} as asked: out of order."
    )


def test_a_request_names_whom_it_brings() -> None:
    request = PlanRequest(
        model=MODEL.id, systems=(SYSTEM.id,), workload=Workload(prompt_tokens=10.0, output_tokens=10.0)
    )
    with pytest.raises(InputError, match="names its engine"):
        make_plan(request, SHELF, lambda _: Picky(lambda *_: ""))
    with pytest.raises(InputError, match="brings launchers"):
        make_plan(dataclasses.replace(request, launchable="picky"), SHELF)
