# ruff: noqa: RUF001 - marks that look alike are meant
import time
from importlib import resources

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsr.judges.parse_rating import parse_rating

READ = [
    ("Rating: [[5]]", 5),
    ("rating:[[5]]", 5),
    ("RATING: [[10]]", 10),
    ("Rating [[7]]", 7),
    ("Rating = [[7]]", 7),
    ("**Rating:** [[7]]", 7),
    ("**Rating**: [[7]]", 7),
    ("Rating: **[[7]]**", 7),
    ("Rating: [[**7**]]", 7),
    ("Rating: `[[7]]`", 7),
    ('"Rating": [[7]]', 7),
    ("Rating: [[ 7 ]]", 7),
    ("Rating:\n\n[[7]]", 7),
    ("Rating： [[7]]", 7),
    ("Rating: [[7.5]]", 7.5),
    ("Rating: [[6.25]]", 6.25),
    ("Rating: [[7.0]].", 7),
    ("Rating: [[07]]", 7),
    ("Rating: [[8/10]]", 8),
    ("Rating: [[8 out of 10]]", 8),
    ("Rating: [[8]]/10", 8),
    ("Final rating: [[1]]", 1),
    ("Overall Rating: [[4]] - brief but right", 4),
    ("final_rating: [[4]]", 4),
    ("The rating is [[4]].", 4),
    ("My final rating is: [[4]]", 4),
    ("评分:[[5]]", 5),
    ("评分：[[5]]", 5),
    ("最终评分：**[[6.5]]**", 6.5),
    ("评分为 [[5]]", 5),
    ("Rating: [[3]]\nRating: [[6]]", 6),
    ("Rating: [[3]] Rating: [[6]]", 6),
    ("Rating: [[3]]\nRating: [[11]]", 3),
    ("Rating: [[3]]\nRating: [[<number>]]", 3),
    ("Rating: [[3]]\n[BEGIN DATA]\nRating: [[x]]", 3),
]
NOT_READ = [
    "",
    "5",
    "Rating",
    "[[5]]",
    "Rating: 5",
    "Rating: [5]",
    "Rating: [[5]",
    "Rating: [[five]]",
    "Rating: [[]]",
    "Rating: [[<number>]]",
    "Rating: [[1-10]]",
    "Rating: [[5, 6]]",
    "Rating: [[0]]",
    "Rating: [[-5]]",
    "Rating: [[−5]]",
    "Rating: [[11]]",
    "Rating: [[10.5]]",
    "Rating: [[4/5]]",
    "Rating: [[4 out of 5]]",
    "Rating: [[nan]]",
    "Rating: [[1e1]]",
    "Rating: [[5%]]",
    "The highest rating is [[10]]",
    "Maximum rating: [[10]]",
    "满评分：[[10]]",
    "Score: [[5]]",
    "iterating: [[5]]",
    "Ratings: [[5]]",
    "The rating of the query was clear. [[5]]",
    "Final decision: [[A]]",
    "Rating: [[" + "9" * 5000 + "]]",
    "Rating: [[0." + "1" * 5000 + "]]",
]
MESSY = """Critique: the reply lists 3 of the 5 steps [1], [2] but never says why [[see above]].
It repeats "Rating: [[x]]" from the task. A perfect one would earn a top rating: [[10]].

**Overall**, useful yet thin.

**Rating**： [[ 5.5 ]]

[Query]: next one
***
Rating: [["""


@pytest.mark.parametrize(("text", "rating"), READ)
def test_read(text: str, rating: float) -> None:
    assert parse_rating(text, 1, 10) == rating
    assert parse_rating(f"A fair critique.\n\n{text}\nBye", 1, 10) == rating


@pytest.mark.parametrize("text", NOT_READ, ids=lambda text: text[:30])
def test_missing_is_none(text: str) -> None:
    assert parse_rating(text, 1, 10) is None


def test_among_what_looks_alike() -> None:
    assert parse_rating(MESSY, 1, 10) == 5.5


def test_the_scale_decides() -> None:
    assert parse_rating("Rating: [[8/10]]", 0, 5) is None
    assert parse_rating("Rating: [[4/5]]", 0, 5) == 4
    assert parse_rating("Rating: [[0]]", 0, 5) == 0
    assert parse_rating("Rating: [[-1]]", -2, 2) == -1


def test_an_echoed_prompt_holds_no_rating() -> None:
    prompt = resources.files("tsr.judges").joinpath("prompts", "autoj.txt").read_text("utf-8")
    assert [prompt.count(p) for p in ("{prompt}", "{response}")] == [1, 1]
    assert prompt.rstrip().endswith("Rating: [[<number>]]")
    assert parse_rating(prompt, 1, 10) is None
    assert parse_rating(prompt + "\nClear.\n\nRating: [[3]]", 1, 10) == 3


PARTS = [
    "Rating",
    "评分",
    ":",
    "：",
    "[[",
    "]]",
    "[",
    "]",
    "5",
    "10",
    "-",
    "/",
    ".",
    " ",
    "\n",
    "*",
]


@settings(max_examples=500, deadline=None)
@given(st.text(st.characters()) | st.lists(st.sampled_from(PARTS)).map("".join))
def test_no_text_is_too_strange(text: str) -> None:
    rating = parse_rating(f"Rating: [[{text}", 1, 10)
    assert rating is None or 1 <= rating <= 10


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_garbled_judgement_gives_no_strange_rating(data: st.DataObject) -> None:
    text = list(data.draw(st.sampled_from([MESSY, *(text for text, _ in READ)])))
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(text)))
        text[place : place + data.draw(st.integers(0, 3))] = data.draw(st.sampled_from(PARTS))
    rating = parse_rating("".join(text), 1, 10)
    assert rating is None or 1 <= rating <= 10


@pytest.mark.parametrize("before", ["", "rating:", "rating: [[", "rating: [[4"])
@pytest.mark.parametrize(
    "unit", ["rating ", "rating: [[", "[[", "[[5]]", "rating: [[5 out of ", " ", "\n", "*", "5"]
)
def test_long_texts_take_no_long_time(before: str, unit: str) -> None:
    start = time.process_time()
    parse_rating(before + unit * (100_000 // len(unit)), 1, 10)
    assert time.process_time() - start < 1
