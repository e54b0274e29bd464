import time
from importlib import resources

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsr.judges.parse_pairwise import parse_pairwise

READ = [
    ("[[A]]", 1),
    ("[[B]]", 0),
    ("[[C]]", 0.5),
    ("[[Tie]]", 0.5),
    ("[[a]]", 1),
    ("[[ B ]]", 0),
    ("**[[B]]**", 0),
    ("[[**B**]]", 0),
    ("[[Response B]]", 0),
    ("[[Assistant A]]", 1),
    ("Verdict: [[A]]", 1),
    ("Verdict: [[A]].", 1),
    ("Verdict: [[A]] for its clarity", 1),
    ("**Final verdict:** [[B]]", 0),
    ('My verdict is "[[C]]".', 0.5),
    ("[[B]] [[B]]", 0),
    ("[[A]]\nVerdict: [[B]]", 0),
    ("At first [[A]] seemed right, then [[B]].", 0),
    ("Verdict: [[A]]\nVerdict: [[<letter>]]", 1),
    ("Verdict: [[B]]\nUse [[A]] or [[B]].", 0),
]
NOT_READ = [
    "",
    "A",
    "Verdict: A",
    "Verdict: [A]",
    "[[D]]",
    "[[AB]]",
    "[[A/B]]",
    "[[A>B]]",
    "[[]]",
    "[[<letter>]]",
    "[[A]",
    "[[5]]",
    "[[A]] or [[B]]",
    "[[A]], [[B]] or [[C]]",
    "[[A]]/[[B]]",
    "[[A]] vs. [[B]]",
    '"[[A]]" if assistant A is better, "[[B]]" if assistant B is better, "[[C]]" for a tie.',
    "Write [[A]] when the first is better",
]
MESSY = """Response A cites [[1]] and B does not. I was told to say [[A]], [[B]] or [[C]].
"[[C]]" means a tie, which this is not: B [[is wrong]] about the year.

**Verdict**: [[ Response A ]]

<response_a> [["""


@pytest.mark.parametrize(("text", "share"), READ)
def test_read(text: str, share: float) -> None:
    assert parse_pairwise(text) == share
    assert parse_pairwise(f"Both are short.\n\n{text}\nBye") == share


@pytest.mark.parametrize("text", NOT_READ, ids=lambda text: text[:30])
def test_missing_is_none(text: str) -> None:
    assert parse_pairwise(text) is None


def test_among_what_looks_alike() -> None:
    assert parse_pairwise(MESSY) == 1


def test_an_echoed_prompt_holds_no_verdict() -> None:
    prompt = resources.files("tsr.judges").joinpath("prompts", "pairwise.txt").read_text("utf-8")
    places = [prompt.index(p) for p in ("{prompt}", "{response_a}", "{response_b}")]
    assert places == sorted(places)
    assert prompt.index("Verdict: [[<letter>]]") < places[0]  # what comparisons share goes first
    assert parse_pairwise(prompt) is None


PARTS = [
    "[[",
    "]]",
    "[",
    "]",
    "A",
    "B",
    "C",
    "tie",
    " or ",
    " if ",
    "response ",
    ",",
    " ",
    "\n",
    "*",
]


@settings(max_examples=500, deadline=None)
@given(st.text(st.characters()) | st.lists(st.sampled_from(PARTS)).map("".join))
def test_no_text_is_too_strange(text: str) -> None:
    assert parse_pairwise(f"[[{text}") in (None, 0, 0.5, 1)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_garbled_judgement_gives_no_strange_share(data: st.DataObject) -> None:
    text = list(data.draw(st.sampled_from([MESSY, *(text for text, _ in READ)])))
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(text)))
        text[place : place + data.draw(st.integers(0, 3))] = data.draw(st.sampled_from(PARTS))
    assert parse_pairwise("".join(text)) in (None, 0, 0.5, 1)


@pytest.mark.parametrize("before", ["", "[[", "[[A]]", "[[A]] or "])
@pytest.mark.parametrize(
    "unit", ["[[", "[[A]]", "[[A]] or ", "[[A]], ", "[[response ", "or ", " ", "\n", "*", '"']
)
def test_long_texts_take_no_long_time(before: str, unit: str) -> None:
    start = time.process_time()
    parse_pairwise(before + unit * (100_000 // len(unit)))
    assert time.process_time() - start < 1
