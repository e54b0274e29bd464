"""What judges ask, and how they read answers: without a model."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsr.config import JudgeConfig
from tsr.engines.base import Answer, ModelFiles, Request
from tsr.engines.scripted import ScriptedEngine
from tsr.judges.autoj import AutoJ
from tsr.judges.base import Case, Judge, Question
from tsr.judges.pairwise import Pairwise
from tsr.judges.reward_model import RewardModel
from tsr.judges.self_judge import SelfJudge
from tsr.settings import Refused
from tsr.stage import _fields

CASE = Case("p/0", "Why {response}?", (), "Because of {prompt}.")
RIVALS = [Case(f"p/{i}", CASE.prompt, (), text) for i, text in enumerate("xyz", 1)]
TEXT, EXPECTED = {"scoring": "text"}, {"scoring": "expected"}
TEN: dict[str, Any] = {"low": 1.0, "high": 10.0}


def config(**changes: Any) -> JudgeConfig:
    return replace(JudgeConfig(), **changes)


def said(text: str) -> Answer:
    return Answer("p/0", 0, text, "stop", 3, 9)


def weighed(**shares: float) -> Answer:
    """`_1=0.25` for the option 1."""
    logs = {name.strip("_"): math.log(share) for name, share in shares.items()}
    return Answer("p/0", 0, "", "options", 0, 9, options=logs)


def valued(value: float | None, finish: str = "value") -> Answer:
    return Answer("p/0", 0, "", finish, 0, 9, value=value)


def question(judge: Judge, case: Case = CASE) -> Question:
    (only,) = judge.questions(case, ())
    return only


def expected(judge: Judge, *answers: Answer) -> float | None:
    return judge.verdict(CASE, question(judge), answers).score


def test_recipes_of_the_self_judge_are_the_old_ones() -> None:
    names = {"scoring", "prompt", "system", "temperature", "top_p", "max_new_tokens"}
    assert set(_fields(SelfJudge())) == {"low", "high", "n"} | names
    assert SelfJudge.__module__ == "tsr.judges.self_judge"


def test_self_judge_asks_with_a_system_turn_and_autoj_without() -> None:
    system, user = SelfJudge.of(config()).request(CASE).messages
    assert (system["role"], user["role"]) == ("system", "user")
    (only,) = AutoJ.of(config(temperature=0.0, **TEN)).request(CASE).messages
    for content in (user["content"], only["content"]):
        assert CASE.prompt in content
        assert CASE.answer in content


def test_prompts_come_from_files(tmp_path: Path) -> None:
    prompt, system = tmp_path / "prompt.txt", tmp_path / "system.txt"
    prompt.write_text("Q {prompt} A {response}\n")
    system.write_text("Be fair.\n")
    judge = AutoJ.of(config(prompt_file=str(prompt), system_file=str(system)))
    assert [m["content"] for m in judge.request(CASE).messages] == [
        "Be fair.",
        "Q Why {response}? A Because of {prompt}.",
    ]
    with pytest.raises(Refused, match=r"needs \{response_a\} and \{response_b\}"):
        Pairwise.of(config(prompt_file=str(prompt)))


def test_text_judgements_are_sampled_as_configured() -> None:
    request = AutoJ.of(config(temperature=0.5, top_p=0.9, max_new_tokens=7)).request(CASE)
    assert (request.temperature, request.top_p, request.max_new_tokens) == (0.5, 0.9, 7)
    assert (request.options, request.opening) == ((), "")


@pytest.mark.parametrize(
    ("judge", "text", "score"),
    [
        (SelfJudge.of(config()), "Fine.\nScore: 4", 4),
        (SelfJudge.of(config()), "Rating: [[4]]", None),
        (AutoJ.of(config(**TEN)), "Fine.\nRating: [[7.5]]", 7.5),
        (AutoJ.of(config(**TEN)), "Rating: [[0]]", None),
        (Pairwise.of(config()), "Verdict: [[B]]", 0),
        (Pairwise.of(config()), "Neither.", None),
    ],
)
def test_a_text_is_read_or_missing(judge: Judge, text: str, score: float | None) -> None:
    verdict = judge.read(CASE, said(text))
    assert (verdict.score, verdict.text) == (score, text)
    assert verdict.reason == (None if score is not None else "unparsed")


def test_one_digit_is_one_request() -> None:
    judge = SelfJudge.of(config(**EXPECTED))
    (request,) = question(judge).requests
    assert (request.opening, request.options) == ("Score: ", tuple("012345"))
    answer = weighed(_0=0.1, _5=0.3)
    assert expected(judge, answer) == judge.read(CASE, answer).score == pytest.approx(3.75)
    assert judge.read(CASE, answer).text == "0: 0.250, 5: 0.750"


def test_ten_is_a_one_and_a_zero() -> None:
    judge = AutoJ.of(config(**EXPECTED, **TEN))
    first, second = question(judge).requests
    assert (first.opening, first.options) == ("Rating: [[", tuple("123456789"))
    assert (second.opening, second.options) == ("Rating: [[1", ("0",))
    answers = weighed(_1=0.4, _9=0.1), weighed(_0=0.75)
    verdict = judge.verdict(CASE, question(judge), answers)
    assert verdict.score == pytest.approx((0.1 * 1 + 0.3 * 10 + 0.1 * 9) / 0.5)
    assert verdict.text == "1: 0.200, 9: 0.200, 10: 0.600"


def test_a_digit_that_is_only_the_beginning_of_ten_has_no_score_of_its_own() -> None:
    judge = SelfJudge.of(config(low=8.5, high=10.0, **EXPECTED))
    assert question(judge).requests[0].options == ("1", "9")
    assert expected(judge, weighed(_1=0.5, _9=0.25), weighed(_0=0.5)) == pytest.approx(9.5)


def test_ten_may_be_one_token() -> None:
    judge = AutoJ.of(config(**EXPECTED, **TEN), split_digits=False)
    (request,) = question(judge).requests
    assert request.options == (*"123456789", "10")
    assert expected(judge, weighed(_1=0.1, _10=0.3)) == pytest.approx(7.75)


def test_options_that_are_not_told_count_as_impossible() -> None:
    judge = AutoJ.of(config(**EXPECTED, **TEN))
    assert expected(judge, weighed(_4=0.01), weighed()) == 4
    assert expected(judge, weighed(_1=0.5), weighed()) == 1
    assert expected(judge, weighed(_1=0.5), weighed(_0=1.0)) == 10
    for answers in ([weighed(), weighed(_0=0.5)], [said(""), said("")], [weighed(_1=0.5)]):
        verdict = judge.verdict(CASE, question(judge), answers)
        assert (verdict.score, verdict.reason) == (None, "no_option")


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (0.0, 11.0, "judge.high=11.0"),
        (0.0, 100.0, "judge.high=100.0"),
        (0.0, 0.9, "judge.high=0.9"),
        (-1.0, 5.0, "judge.low=-1.0"),
    ],
)
def test_a_scale_that_cannot_be_weighed_is_refused(low: float, high: float, message: str) -> None:
    with pytest.raises(Refused, match=message):
        AutoJ.of(config(low=low, high=high, **EXPECTED))
    assert AutoJ.of(config(low=low, high=high)).high == high


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (AutoJ, {"split_digits": "no"}),
        (RewardModel, {"squash": "no"}),
        (Pairwise, {"opponents": 0}),
        (Pairwise, {"opponents": True}),
    ],
)
def test_options_of_a_judge_are_checked(kind: type[Judge], options: dict[str, Any]) -> None:
    ((name, value),) = options.items()
    with pytest.raises(Refused, match=rf"judge\.options\.{name}={value}: must be"):
        kind.of(config(), **options)


def test_each_rival_is_met_in_both_orders() -> None:
    judge = Pairwise.of(config())
    asked = judge.questions(RIVALS[0], [CASE, *RIVALS])
    assert [dict(q.about) for q in asked] == [
        {"against": rival, "order": order}
        for rival in ("p/0", "p/2", "p/3")
        for order in ("first", "second")
    ]
    first, second = (q.requests[0].messages[0]["content"] for q in asked[:2])
    assert first.endswith(f"<response_a>x</response_a>\n\n<response_b>{CASE.answer}</response_b>")
    assert second.endswith(f"<response_a>{CASE.answer}</response_a>\n\n<response_b>x</response_b>")
    assert judge.questions(CASE, [CASE]) == judge.questions(CASE, []) == []


def test_fewer_opponents_are_the_first_ones() -> None:
    judge = Pairwise.of(config(n=3), opponents=2)
    against = [dict(q.about)["against"] for q in judge.questions(RIVALS[0], [CASE, *RIVALS])]
    assert against == ["p/0", "p/0", "p/2", "p/2"]
    assert [judge.asked(rivals) for rivals in (0, 1, 5)] == [0, 6, 12]
    assert Pairwise.of(config()).asked(5) == 10


@pytest.mark.parametrize(
    ("answer", "shares"),
    [
        (said("[[A]]"), [1, 0]),
        (said("[[B]]"), [0, 1]),
        (said("[[C]]"), [0.5, 0.5]),
        (said("?"), [None, None]),
    ],
)
def test_a_win_depends_on_the_order(answer: Answer, shares: list[float | None]) -> None:
    judge = Pairwise.of(config())
    asked = judge.questions(CASE, RIVALS[:1])
    assert [judge.verdict(CASE, q, [answer]).score for q in asked] == shares


def test_a_win_may_be_weighed() -> None:
    judge = Pairwise.of(config(**EXPECTED))
    asked = judge.questions(CASE, RIVALS[:1])
    (request,) = asked[0].requests
    assert (request.opening, request.options) == ("Verdict: [[", ("A", "B", "C"))
    answer = weighed(A=0.3, B=0.05, C=0.05)
    verdicts = [judge.verdict(CASE, q, [answer]) for q in asked]
    assert [v.score for v in verdicts] == pytest.approx([0.8125, 0.1875])
    assert verdicts[1].text == "A: 0.750, B: 0.125, C: 0.125"
    assert judge.verdict(CASE, asked[1], [weighed()]).reason == "no_option"


def test_the_same_text_ties_without_being_asked() -> None:
    judge, twin = Pairwise.of(config()), replace(RIVALS[0], answer=CASE.answer)
    asked = judge.questions(CASE, [twin])
    assert [(q.requests, dict(q.about)["order"]) for q in asked] == [((), "first"), ((), "second")]
    verdict = judge.verdict(CASE, asked[0], [])
    assert (verdict.score, verdict.text, verdict.reason) == (0.5, "identical", None)


def test_shares_and_rewards_have_a_scale_of_their_own() -> None:
    wide = config(low=-20.0, high=20.0)
    assert [(j.low, j.high) for j in (Pairwise.of(wide), RewardModel.of(wide))] == [(0, 1)] * 2
    raw = RewardModel.of(wide, squash=False)
    assert (raw.low, raw.high) == (-20, 20)


def test_a_reward_model_reads_the_conversation() -> None:
    request = RewardModel.of(config()).request(CASE)
    assert [(m["role"], m["content"]) for m in request.messages] == [
        ("user", CASE.prompt),
        ("assistant", CASE.answer),
    ]


def test_rewards_are_squashed_or_not() -> None:
    judge, raw = RewardModel.of(config()), RewardModel.of(config(), squash=False)
    scores = [judge.read(CASE, valued(v)).score for v in (-800.0, -40.0, 0.0, math.log(3), 800.0)]
    assert scores == pytest.approx([0, math.exp(-40), 0.5, 0.75, 1], rel=1e-9)
    assert raw.read(CASE, valued(-3.25)).score == -3.25
    assert raw.read(CASE, valued(-3.25)).text == "reward: -3.25"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (valued(math.nan), "not_finite"),
        (valued(-math.inf), "not_finite"),
        (valued(None), "no_value"),
        (valued(None, "too_long"), "too_long"),
        (None, "too_long"),
    ],
)
def test_no_reward_is_missing(answer: Answer | None, reason: str) -> None:
    for squash in (True, False):
        verdict = RewardModel.of(config(), squash=squash).read(CASE, answer)
        assert (verdict.score, verdict.reason) == (None, reason)


JUDGES: list[Judge] = [
    SelfJudge.of(config(**TEXT)),
    SelfJudge.of(config(**EXPECTED)),
    AutoJ.of(config(**TEXT, **TEN)),
    AutoJ.of(config(**EXPECTED, **TEN)),
    AutoJ.of(config(low=2.0, high=10.0, **EXPECTED)),
    Pairwise.of(config(**TEXT)),
    Pairwise.of(config(**EXPECTED)),
    RewardModel.of(config()),
    RewardModel.of(config(), squash=False),
]


@pytest.mark.parametrize("judge", JUDGES, ids=lambda j: f"{type(j).__name__}-{j.high}")
def test_what_has_no_room_is_missing(judge: Judge) -> None:
    answer = replace(said(""), finish="too_long")
    for q in judge.questions(CASE, RIVALS):
        answers = [said("Score: 4"), answer][-len(q.requests) :]
        assert judge.verdict(CASE, q, answers).reason == "too_long"


@pytest.mark.parametrize("judge", JUDGES, ids=lambda j: f"{type(j).__name__}-{j.high}")
def test_answers_of_an_engine_are_read_in_scale(judge: Judge) -> None:
    texts = ["Score: 4", "Rating: [[4]]", "[[A]]", "?"]
    rule: Callable[[Request, int], str] = lambda _, seed: texts[seed]  # noqa: E731
    engine = ScriptedEngine(rule)
    engine.load(ModelFiles("any", Path("nowhere")))
    for q in judge.questions(CASE, RIVALS):
        for seed in range(len(texts)):
            answers = engine.answer([replace(r, seeds=(seed,)) for r in q.requests])
            score = judge.verdict(CASE, q, answers).score
            assert score is None or judge.low <= score <= judge.high


PIECES = [
    "Score: ",
    "Rating: [[",
    "Verdict: [[",
    "A",
    "B",
    "]]",
    "4",
    "10",
    "11",
    "-",
    "/",
    " ",
    "\n",
]
TEXTS = st.text() | st.lists(st.sampled_from(PIECES)).map("".join)
NUMBERS = st.floats() | st.floats(-30, 0)
SHARES = st.dictionaries(st.sampled_from([*map(str, range(11)), "A", "B", "C"]), NUMBERS)
ANSWERS = st.builds(
    Answer,
    st.just("p/0"),
    st.just(0),
    TEXTS,
    st.sampled_from(["stop", "length", "options", "value", "too_long"]),
    st.just(1),
    st.just(1),
    options=st.none() | SHARES,
    value=st.none() | NUMBERS,
)


@settings(max_examples=1000, deadline=None)
@given(st.sampled_from(JUDGES), ANSWERS, ANSWERS)
def test_no_answer_is_too_strange(judge: Judge, one: Answer, other: Answer) -> None:
    for q in judge.questions(CASE, RIVALS[:1]):
        verdicts = [judge.verdict(CASE, q, [one, other][: len(q.requests)]), judge.read(CASE, one)]
        for verdict in verdicts:
            assert (verdict.score is None) == (verdict.reason is not None)
            if verdict.score is not None:
                assert math.isfinite(verdict.score)
                raw = isinstance(judge, RewardModel) and not judge.squash
                assert raw or judge.low <= verdict.score <= judge.high
