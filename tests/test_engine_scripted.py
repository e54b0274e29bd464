"""The engine without a model."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from tsr.engines.base import Engine, Message, ModelFiles, Request
from tsr.engines.scripted import ScriptedEngine

ASKED = Request("a", (Message(role="user", content="Say a word."),), (1, 2, 3), logprobs=True)


@pytest.fixture
def engine() -> Engine:
    made = ScriptedEngine()
    made.load(ModelFiles("m0", Path("nowhere")))
    return made


def test_same_request_same_words(engine: Engine) -> None:
    answers = engine.answer([ASKED, replace(ASKED, id="b", seeds=(3, 1))])
    assert [(a.request, a.sample) for a in answers] == [
        *(("a", 0), ("a", 1), ("a", 2)),
        *(("b", 0), ("b", 1)),
    ]
    assert [a.text for a in answers[3:]] == [answers[2].text, answers[0].text]
    assert all(a.text and a.finish == "stop" for a in answers)
    assert all(len(a.logprobs or ()) == a.tokens for a in answers)


def test_seed_model_and_conversation_matter(engine: Engine) -> None:
    texts = {a.text for a in engine.answer([replace(ASKED, seeds=tuple(range(20)))])}
    assert len(texts) > 15
    assert len({len(t) for t in texts}) > 5
    first = engine.answer([ASKED])
    engine.load(ModelFiles("m1", Path("nowhere")))
    assert [a.text for a in engine.answer([ASKED])] != [a.text for a in first]


def test_options_and_the_rest_sum_to_one(engine: Engine) -> None:
    request = replace(ASKED, opening="Score: ", options=("0", "1", "2"), logprobs=False)
    answers = engine.answer([request])
    assert [a.finish for a in answers] == ["options"] * 3
    assert answers[0].options == answers[2].options
    assert answers[0].options is not None
    assert 0.5 < sum(map(math.exp, answers[0].options.values())) < 1


def test_a_rule_answers(engine: Engine) -> None:
    ruled = ScriptedEngine(lambda request, seed: f"{request.id} {seed}")
    answers = ruled.answer([ASKED])
    assert [a.text for a in answers] == ["a 1", "a 2", "a 3"]
    assert answers[0].tokens == 3
    assert ruled.lengths([ASKED]) == [3] == [answers[0].prompt_tokens]
    assert ruled.context() > 100_000
    ruled.close()
