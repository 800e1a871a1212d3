"""Switches and profiles agree with each other."""

from __future__ import annotations

from dougong.ops.semantics import SWITCHES
from dougong.verify.semantics import SEMANTICS


def test_every_profile_answers_every_switch_with_its_answers() -> None:
    for profile in SEMANTICS.values():
        assert set(profile.accepts) == set(SWITCHES)
        for name, accepted in profile.accepts.items():
            assert accepted
            assert set(accepted) <= set(SWITCHES[name].answers)


def test_conforming_choices_come_first_and_every_answer_comes() -> None:
    choices = list(SEMANTICS["llm-strict"].choices(("overflow", "nan_in_max")))
    assert len(choices) == 4
    assert [conforms for _, conforms in choices] == [True, False, False, False]
    assert list(SEMANTICS["llm-strict"].choices(())) == [({}, True)]
