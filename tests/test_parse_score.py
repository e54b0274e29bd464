import math
import time
from importlib import resources

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsr.judges.parse import parse_score

READ = [
    ("Score: 4", 4),
    ("score:4", 4),
    ("SCORE = 4", 4),
    ("**Score:** 4", 4),
    ("**Score**: 4", 4),
    ("Score: **4/5**", 4),
    ("Score: <4>", 4),
    ("Score: [4]", 4),
    ('{"score": 4}', 4),
    ('"total_score": 4,', 4),
    ("Score：4", 4),  # noqa: RUF001
    ("Score: 4/5", 4),
    ("Score: 4 / 5.", 4),
    ("Score: 4 out of 5", 4),
    ("Score: 4 (out of 5)", 4),
    ("Score: 4 points out of a possible 5", 4),
    ("score: 2 points total", 2),
    ("Score: 4.5", 4.5),
    ("Score: 4.", 4),
    ("Score: 4, because it is clear", 4),
    ("Score: 3 - the answer is short", 3),
    ("Score: 0", 0),
    ("Total score: 4", 4),
    ("The total score = 3", 3),
    ("The score is 4.", 4),
    ("score is: 4", 4),
    ("The score for this evaluation is 1.", 1),
    ("Score:\n4", 4),
    ("Score:\n\n**4**\n", 4),
    ("Score: 1+1+1+0 = 3", 3),
    ("Score: 1 + 1 = 2/5", 2),
    ("Score: 3\nScore: 2", 2),
    ("Score: 3 Score: 2", 2),
    ("Score: 3\nScore: 9", 3),
    ("Score: 3\nScore: <total points>", 3),
]
NOT_READ = [
    "",
    "4",
    "Score",
    "Score: five",
    "Score: 10",
    "Score: 6",
    "Score: -1",
    "Score: −1",  # noqa: RUF001
    "Score: 4/10",
    "Score: 4 out of 10",
    "Score: 3 points out of 10",
    "Score: <total points>",
    "Score: 0-5",
    "Score: 0 – 5",  # noqa: RUF001
    "Score: 1 to 5",
    "Score: 4 or 5",
    "Score: [0, 5]",
    "Score: 0/1/2/3/4/5",
    "Score: 1 + 1 + 1",
    "Score: 1 0",
    "Score: 4,5",
    "Score: 1.5.2",
    "Score: 4:30",
    "Score: 4%",
    "Score: 4th",
    "Score: 1e3",
    "Score: 4-point scale",
    "Score:\n1. The answer is relevant",
    "Scores: 3",
    "subscore: 3",
    "Rating: 4",
    "Rating: 8",
    "a score of 4",
    "the score is not 4",
    "score 4",
    "Maximum score: 5",
    "A perfect score is 5",
    "score = 0",
    "    self.score = 0\n",
    "if score == 4:",
    "score += 1",
    "Score: " + "9" * 5000,
]


@pytest.mark.parametrize(("text", "score"), READ)
def test_read(text, score):
    assert parse_score(text, 0, 5) == score
    assert parse_score(f"Good.\n\n{text}\nBye", 0, 5) == score


@pytest.mark.parametrize("text", NOT_READ, ids=lambda text: text[:30])
def test_missing_is_none(text):
    assert parse_score(text, 0, 5) is None


@pytest.mark.parametrize(
    ("text", "low", "high", "score"),
    [
        ("Score: 8/10", 1, 10, 8),
        ("Score: 8/10", 0, 5, None),
        ("Score: 4/5", 1, 10, None),
        ("Score: 0", 1, 10, None),
        ("Score: 10", 1, 10, 10),
        ("Score: 0.7", 0, 1, 0.7),
        ("Score: -1", -2, 2, -1),
    ],
)
def test_the_scale_decides(text, low, high, score):
    assert parse_score(text, low, high) == score


def test_an_echoed_prompt_holds_no_score():
    prompt = resources.files("tsr.judges").joinpath("prompts", "additive_5.txt").read_text("utf-8")
    assert [prompt.count(p) for p in ("{prompt}", "{response}")] == [1, 1]
    assert prompt.rstrip().endswith("Score: <total points>")
    assert parse_score(prompt, 0, 5) is None
    assert parse_score(prompt + "\nClear.\n\nScore: 3", 0, 5) == 3


PARTS = [
    "Score",
    "score",
    ":",
    "=",
    " is ",
    "4",
    "5",
    "10",
    "-",
    "/",
    ".",
    " ",
    "\n",
    "*",
    "<",
    " out of ",
    "+",
]


@settings(max_examples=500, deadline=None)
@given(st.text(st.characters()) | st.lists(st.sampled_from(PARTS)).map("".join))
def test_no_text_is_too_strange(text):
    score = parse_score(f"Score: {text}", 0, 5)
    assert score is None or (math.isfinite(score) and 0 <= score <= 5)


MESSY = """<|user|> Add the points and end with "Score: <total points>".
The answer earns 1 point for relevance + 1 for coverage; the maximum score: 5.
def score(answer): score = 0
**Total Score:** 3/5 (out of 5)

Score: <total points> [/INST] Score: 7/10"""


def test_among_what_looks_alike():
    assert parse_score(MESSY, 0, 5) == 3


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_garbled_judgement_gives_no_strange_score(data):
    text = list(data.draw(st.sampled_from([MESSY, *(text for text, _ in READ)])))
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(text)))
        text[place : place + data.draw(st.integers(0, 3))] = data.draw(st.sampled_from(PARTS))
    score = parse_score("".join(text), 0, 5)
    assert score is None or 0 <= score <= 5


@pytest.mark.parametrize("before", ["", "score:", "score: 4", "score: 4 + 4"])
@pytest.mark.parametrize(
    "unit", ["score ", "score: ", "score: 4 + ", "score of the ", " ", "\n", "*", "+ 1 "]
)
def test_long_texts_take_no_long_time(before, unit):
    start = time.process_time()
    parse_score(before + unit * (100_000 // len(unit)), 0, 5)
    assert time.process_time() - start < 1
