"""Algorithm 1's selection rules, from tables worked by hand."""

from dataclasses import dataclass
from typing import Any

import pytest

from tsr.config import PairingConfig
from tsr.selectors import (
    AnchoredRejection,
    BestOf,
    Candidate,
    FutureGuidedChosen,
    WorstOf,
    pair,
    rules_read,
)

PAPER = PairingConfig()
Scores = list[float | None]


def pool(model: str, scores: Scores, texts: list[str] | None = None) -> list[Candidate]:
    names = texts or [f"{model}{j}" for j in range(len(scores))]
    return [
        Candidate("p", model, 0, j, text, score)
        for j, (score, text) in enumerate(zip(scores, names, strict=True))
    ]


def rules(**changes: Any) -> PairingConfig:
    return PairingConfig(**changes)


# own scores, anchor scores -> rejected (Algorithm 1: min(s_0) < min(s_i), strictly)
ANCHORED: list[tuple[Scores, Scores, str | None]] = [
    ([3, 1, 4], [0, 5, 2], "a0"),  # anchor is lower
    ([3, 1, 4], [1, 5, 2], "o1"),  # equal minima: the current model's
    ([3, 1, 4], [2, 5, 2], "o1"),  # anchor is higher
    ([0, 0, 0], [0, 0, 0], "o0"),  # all equal
    ([3, None, 4], [None, 2, 5], "a1"),  # missing is not zero: it is never the minimum
    ([3, None, 4], [None, 3, 5], "o0"),
    ([None, None], [1, 2], "a0"),  # only the anchor has scores
    ([1, 2], [None, None], "o0"),  # only the current model has scores
    ([None], [None], None),
    ([2.5, 2.25], [2.2, 4], "a0"),  # averaged scores
]


@pytest.mark.parametrize(("own", "anchor", "expected"), ANCHORED)
def test_anchored_rejection(own: Scores, anchor: Scores, expected: str | None) -> None:
    pools = {"own": pool("o", own), "anchor": pool("a", anchor)}
    found = AnchoredRejection("anchor", "own").select(pools, PAPER)
    assert (found and found.text) == expected


# own scores, future scores -> chosen (Algorithm 1: max(s_f) > max(s_i), strictly)
FUTURE: list[tuple[Scores, Scores, str | None]] = [
    ([3, 1, 4], [0, 5, 2], "f1"),  # future is higher
    ([3, 1, 5], [1, 5, 2], "o2"),  # equal maxima: the current model's
    ([3, 1, 4], [2, 3, 2], "o2"),  # future is lower
    ([5, 5, 5], [5, 5, 5], "o0"),  # saturated: the future can never win
    ([3, None, 4], [None, 4.5, 1], "f1"),
    ([None, None], [1, 2], "f1"),
    ([1, 2], [None, None], "o1"),
    ([None], [None], None),
]


@pytest.mark.parametrize(("own", "future", "expected"), FUTURE)
def test_future_guided_chosen(own: Scores, future: Scores, expected: str | None) -> None:
    pools = {"own": pool("o", own), "future": pool("f", future)}
    found = FutureGuidedChosen("future", "own").select(pools, PAPER)
    assert (found and found.text) == expected


def test_non_strict_rules_are_named_alternatives() -> None:
    pools = {"own": pool("o", [1, 5]), "anchor": pool("a", [1, 9]), "future": pool("f", [5, 0])}
    worst = AnchoredRejection("anchor", "own").select(pools, rules(anchor_rule="le"))
    best = FutureGuidedChosen("future", "own").select(pools, rules(future_rule="ge"))
    assert (worst and worst.text, best and best.text) == ("a0", "f0")


TIES = [("first", "bb"), ("shortest", "a"), ("longest", "dddd")]


@pytest.mark.parametrize(("how", "expected"), TIES)
def test_ties_inside_a_pool(how: str, expected: str) -> None:
    tied = pool("o", [5, 5, 5, 1], ["bb", "a", "dddd", "x"])
    found = BestOf("own").select({"own": tied}, rules(ties=how))
    assert found is not None
    assert found.text == expected


def test_first_is_by_sample_not_by_position() -> None:
    backwards = pool("o", [5, 5, 5])[::-1]
    found = BestOf("own").select({"own": backwards}, PAPER)
    assert found is not None
    assert found.sample == 0


def test_random_ties_do_not_depend_on_order_and_use_every_candidate() -> None:
    def drawn(prompt: str, backwards: bool) -> int:
        tied = [Candidate(prompt, "o", 0, j, f"t{j}", 3.0) for j in range(3)]
        found = WorstOf("own").select(
            {"own": tied[::-1] if backwards else tied}, rules(ties="random")
        )
        assert found is not None
        return found.sample

    prompts = [f"p{n}" for n in range(60)]
    forwards = [drawn(p, False) for p in prompts]
    assert forwards == [drawn(p, True) for p in prompts]
    assert set(forwards) == {0, 1, 2}


# chosen scores, rejected scores, rules, texts -> reason for no pair
PAIRS: list[tuple[Scores, dict[str, Any], list[str], str | None]] = [
    ([4, 1], {}, ["a", "b"], None),
    ([3, 3], {}, ["a", "b"], "tie"),  # strict: s_chosen > s_rejected
    ([4, 1], {}, ["a", "a"], "identical"),
    ([4, 1], {"identical": "keep"}, ["a", "a"], None),
    ([4, 3], {"margin": 1.0}, ["a", "b"], "tie"),  # the margin is strict as well
    ([4, 2.9], {"margin": 1.0}, ["a", "b"], None),
    ([None, None], {}, ["a", "b"], "missing"),
    ([4, None], {}, ["a", "b"], "tie"),  # one candidate is both best and worst
    ([5, 1], {}, ["a", ""], None),
    ([5, 1], {"empty": "exclude"}, ["a", ""], "tie"),  # one eligible candidate is both
]


@pytest.mark.parametrize(("scores", "changes", "texts", "reason"), PAIRS)
def test_pair_or_reason(
    scores: Scores, changes: dict[str, Any], texts: list[str], reason: str | None
) -> None:
    pools = {"own": pool("o", scores, texts)}
    assert pair(BestOf("own"), WorstOf("own"), pools, rules(**changes)).reason == reason


def test_a_prompt_dropped_in_phase_1_returns_in_phase_2() -> None:
    pools = {"own": pool("o", [3, 3]), "anchor": pool("a", [3, 4]), "future": pool("f", [5, 2])}
    rejected = AnchoredRejection("anchor", "own")
    assert pair(BestOf("own"), rejected, pools, PAPER).reason == "tie"
    second = pair(FutureGuidedChosen("future", "own"), rejected, pools, PAPER)
    assert second.reason is None
    assert second.chosen is not None
    assert second.rejected is not None
    assert (second.chosen.text, second.rejected.text) == ("f0", "o0")


def test_unfinished_answers_can_be_excluded() -> None:
    cut = Candidate("p", "o", 0, 0, "cut", 5.0, finish="length")
    whole = Candidate("p", "o", 0, 1, "whole", 4.0)
    best = BestOf("own").select({"own": [cut, whole]}, rules(unfinished="exclude"))
    assert best == whole
    assert BestOf("own").select({"own": [cut, whole]}, PAPER) == cut


def test_binding_leaves_a_selectors_own_settings_alone() -> None:
    @dataclass(frozen=True)
    class Ranked(BestOf):
        rank: int = 2

    bound = Ranked("mi").bind(lambda value: "pool" if isinstance(value, str) else value)
    assert (bound.own, bound.rank) == ("pool", 2)  # type: ignore[attr-defined]


def test_rules_that_no_selector_reads_are_not_part_of_the_work() -> None:
    changed = rules(anchor_rule="le", future_rule="ge", margin=0.5)
    assert rules_read(changed, BestOf("o"), WorstOf("o")) == rules(margin=0.5)
    anchored = rules_read(changed, BestOf("o"), AnchoredRejection("a", "o"))
    assert anchored == rules(margin=0.5, anchor_rule="le")


def test_anchored_to_its_own_pool_is_the_plain_worst() -> None:
    bound = AnchoredRejection("m0", "mi").bind(lambda model: "one pool")
    assert bound == WorstOf("one pool")
