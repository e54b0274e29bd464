import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsr.data.constraints import (
    KINDS,
    as_json,
    compatible,
    describe,
    describe_all,
    fulfilled,
    parse,
    share_fulfilled,
)
from tsr.settings import Refused

# kind and parameters, answers that fulfil it, answers that do not
TABLE = [
    ({"kind": "min_words", "n": 3}, ["one two three", "- one\n- two\n- three four"], ["one - two"]),
    ({"kind": "max_words", "n": 3}, ["1. one\n2. two\n3. three", "well-made up"], ["a b—c d"]),
    (
        {"kind": "sentences", "n": 2},
        [
            "One. Two",
            "Mr. Fox paid 3.50 euros. He ran!",
            "One?!\n\nTwo",
            'He said "Go." Then he left.',
        ],
        ["One.", "One. Two. Three.", "...", "一。二。三。"],
    ),
    ({"kind": "paragraphs", "n": 2}, ["a\nb\n\n \nc", "a\n\n---\n\nb"], ["a\nb", "a\n\nb\n\nc"]),
    (
        {"kind": "bullets", "n": 2},
        ["- a\n- b", "Here:\n* a\n  * b\nDone.", "• a\n• b"],
        ["- a", "-a\n-b", "**a**\n**b**"],
    ),
    (
        {"kind": "numbered", "n": 2},
        ["1. a\n2. b", "Steps:\n1) a\n2) b"],
        ["1. a", "1. a\n3. b", "2. a\n1. b", "1. a\n2. b\n3. c", "1.5 a\n2.5 b"],
    ),
    (
        {"kind": "json_object", "keys": ["a", "b"]},
        ['{"b": 1, "a": [2]}', '```json\n{"a": 1, "b": null}\n```'],
        ['{"a": 1}', '{"a": 1, "b": 2, "c": 3}', 'Here: {"a": 1, "b": 2}', '["a", "b"]', "{a: 1}"],
    ),
    ({"kind": "quoted"}, ['"Yes."', "“Yes”", "«Oui»"], ['"Yes', 'He said "Yes"', "'Yes'"]),
    ({"kind": "lower_case"}, ["hi, é 1!", "ß"], ["Hi", "123", "你好", "ǅ"]),
    ({"kind": "upper_case"}, ["HI, É 1!"], ["HI there", "123", "你好"]),
    ({"kind": "title_case"}, ["A Short Story", "3 Big (Blue) Whales"], ["A short Story", "1 2 3"]),
    ({"kind": "no_commas"}, ["one; two"], ["one, two", "一，二", "أ، ب"]),  # noqa: RUF001
    ({"kind": "question"}, ["Is it?", '"Is it?"\n', "真的？"], ["Is it? Yes.", "It is"]),  # noqa: RUF001
    (
        {"kind": "includes", "words": ["sea", "New York"]},
        ["The SEA near new\nyork."],
        ["The seas near New York", "The sea", "New York"],
    ),
    ({"kind": "excludes", "words": ["sea", "its"]}, ["seaside", "it's"], ["a (Sea)", "ITS"]),
    ({"kind": "word_times", "word": "go", "n": 2}, ["Go, go!", "go going go"], ["go", "go go go"]),
    (
        {"kind": "starts_with", "phrase": "Dear Ana"},
        ["dear  ana, hello", '"Dear Ana"', "**Dear Ana**"],
        ["Dear Anabel", "Hello, dear Ana"],
    ),
    (
        {"kind": "ends_with", "phrase": "the end"},
        ["This is The End.", "the end"],
        ["the end is", "lathe end"],
    ),
    ({"kind": "letter", "letter": "e", "n": 3}, ["Eleven", "e E e"], ["Ten eggs", "é è ê"]),
    ({"kind": "digits", "n": 4}, ["In 1969", "1 2 3 4", "٤٤٤٤"], ["In 196", "1969 and 1"]),
    ({"kind": "number"}, ["42", "room 7"], ["seven", "½"]),
    (
        {"kind": "language", "code": "en"},
        ["The cat is in the garden."],
        ["Le chat est là.", "Bonn"],
    ),
    ({"kind": "language", "code": "fr"}, ["Où est la gare ?"], ["Where is the station?", "42"]),
    ({"kind": "language", "code": "es"}, ["¿Dónde está la estación?"], ["Où est la gare ?", "a"]),
    ({"kind": "language", "code": "de"}, ["Wo ist der Bahnhof?"], ["Where is the station?"]),
    (
        {"kind": "exact", "answer": "7"},
        ["7", "7.0", "It is 7.", "10-3=7", "First 3, then 7"],
        ["-7", "7 or 8", "seven", "77", "7.5"],
    ),
    ({"kind": "exact", "answer": "-1,200"}, ["-1200", "so it is −1,200.00 m"], ["1200", "-1,2"]),  # noqa: RUF001
    (
        {"kind": "exact", "answer": "Positive"},
        ["positive", "**Positive.**", "Answer: positive", "I like it.\nThe answer is positive!"],
        ["not positive", "positive or negative", "negative"],
    ),
]
ALL = [parse(obj) for obj, _, _ in TABLE]


@pytest.mark.parametrize(("obj", "good", "bad"), TABLE, ids=lambda x: str(x)[:40])
def test_answers(obj, good, bad):
    constraint = parse(obj)
    assert [a for a in good if not fulfilled(constraint, a)] == []
    assert [a for a in bad if fulfilled(constraint, a)] == []


def test_every_kind_is_in_the_table():
    assert {c.kind for c in ALL} == set(KINDS)


@pytest.mark.parametrize("constraint", ALL, ids=repr)
def test_is_written_and_described(constraint):
    assert parse(as_json(constraint)) == constraint
    assert describe(constraint)[0].isupper()
    assert describe(constraint).endswith(".")


@pytest.mark.parametrize("constraint", ALL, ids=repr)
@pytest.mark.parametrize("empty", ["", " \n", "...", "{}", '"?"', "---\n\n---"])
def test_an_empty_answer_fulfils_nothing(constraint, empty):
    assert not fulfilled(constraint, empty)


def test_descriptions_read_well():
    two = [
        parse({"kind": "sentences", "n": 1}),
        parse({"kind": "excludes", "words": ["a", "b", "c"]}),
    ]
    assert describe_all(two) == 'Write exactly 1 sentence. Do not use the words "a", "b" or "c".'


def test_the_answer_is_not_given_away():
    assert "1234" not in describe(parse({"kind": "exact", "answer": "1234"}))
    assert "yes" not in describe(parse({"kind": "exact", "answer": "yes"})).lower()


def test_share():
    two = [parse({"kind": "max_words", "n": 2}), parse({"kind": "lower_case"})]
    assert [share_fulfilled(two, a) for a in ("hi", "Hi", "Hi to you", "")] == [1.0, 0.5, 0.0, 0.0]
    with pytest.raises(ValueError, match="no constraints"):
        share_fulfilled([], "hi")


@pytest.mark.parametrize(
    ("obj", "said"),
    [
        ({"kind": "rhymes"}, "kind='rhymes': must be one of min_words, max_words"),
        ({}, "kind=None: must be one of"),
        ("min_words", "must be an object"),
        ({"kind": "min_words"}, "min_words: takes n, got none"),
        ({"kind": "min_words", "words": 3}, "min_words: takes n, got words"),
        ({"kind": "quoted", "n": 3}, "quoted: takes no parameters, got n"),
        ({"kind": "min_words", "n": 0}, "min_words.n=0: must be a whole number of at least 1"),
        ({"kind": "min_words", "n": True}, "must be a whole number"),
        ({"kind": "min_words", "n": 2.0}, "must be a whole number"),
        ({"kind": "includes", "words": "sea"}, "must be a list of texts"),
        ({"kind": "includes", "words": []}, "must be a list of texts"),
        ({"kind": "includes", "words": ["sea", 1]}, "includes.words=1: must be a text"),
        ({"kind": "includes", "words": ["sea", "!"]}, "must be a text with a letter or digit"),
        ({"kind": "letter", "letter": "ab", "n": 1}, "must be a single letter"),
        ({"kind": "language", "code": "it"}, "must be one of en, fr, es, de"),
    ],
)
def test_refusals_name_what_is_allowed(obj, said):
    with pytest.raises(Refused) as refusal:
        parse(obj)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters()) | st.text(' \n-*.,"{}[]`1aÀß?!', max_size=60))
def test_no_text_is_too_strange(text):
    for constraint in ALL:
        assert fulfilled(constraint, text) in (True, False)


@pytest.mark.parametrize(
    "unit", [".", " ", "\n", "a", "1", "1,", "- ", "\n \n", '"', "[", "!?", "—", "a. "]
)
def test_long_texts_take_no_long_time(unit):
    text = "x" + unit * 20_000 + "x"
    start = time.process_time()
    for constraint in ALL:
        fulfilled(constraint, text)
    assert time.process_time() - start < 3


def P(kind, **given):  # noqa: N802
    return parse({"kind": kind, **given})


# Pairs that may stand together, with an answer that fulfils both.
TOGETHER = [
    (P("min_words", n=3), P("max_words", n=8), "one two three four"),
    (P("sentences", n=2), P("max_words", n=20), "One. Two."),
    (P("sentences", n=2), P("paragraphs", n=2), "One.\n\nTwo."),
    (P("bullets", n=2), P("no_commas"), "- a\n- b"),
    (P("numbered", n=2), P("lower_case"), "1. a\n2. b"),
    (P("numbered", n=2), P("includes", words=["sea"]), "1. a\n2. the sea"),
    (P("json_object", keys=["a"]), P("number"), '{"a": 1}'),
    (P("json_object", keys=["a"]), P("includes", words=["sea"]), '{"a": "sea"}'),
    (P("upper_case"), P("includes", words=["sea"]), "THE SEA"),
    (P("lower_case"), P("quoted"), '"hello"'),
    (P("exact", answer="7"), P("sentences", n=2), "3 plus 4. It is 7."),
    (P("starts_with", phrase="Once"), P("ends_with", phrase="the end"), "Once, the end."),
    (P("language", code="fr"), P("max_words", n=10), "Le chat est là."),
    (P("includes", words=["sea"]), P("excludes", words=["seas"]), "the sea"),
    (P("question"), P("starts_with", phrase="Why"), "Why?"),
]
# Pairs that contradict each other, or that nobody would ask for.
APART = [
    (P("min_words", n=3), P("min_words", n=4)),
    (P("min_words", n=10), P("max_words", n=9)),
    (P("min_words", n=10), P("max_words", n=10)),
    (P("bullets", n=5), P("max_words", n=5)),
    (P("sentences", n=5), P("max_words", n=15)),
    (P("sentences", n=1), P("min_words", n=60)),
    (P("sentences", n=1), P("paragraphs", n=2)),
    (P("lower_case"), P("upper_case")),
    (P("lower_case"), P("title_case")),
    (P("lower_case"), P("includes", words=["NASA"])),
    (P("lower_case"), P("starts_with", phrase="Once")),
    (P("upper_case"), P("ends_with", phrase="the end")),
    (P("bullets", n=2), P("numbered", n=2)),
    (P("bullets", n=2), P("sentences", n=2)),
    (P("json_object", keys=["a", "b"]), P("no_commas")),
    (P("json_object", keys=["a"]), P("quoted")),
    (P("json_object", keys=["A"]), P("lower_case")),
    (P("includes", words=["sea", "sky"]), P("excludes", words=["sky"])),
    (P("excludes", words=["end"]), P("ends_with", phrase="the end")),
    (P("excludes", words=["go"]), P("word_times", word="go", n=2)),
    (P("language", code="fr"), P("includes", words=["sea"])),
    (P("language", code="fr"), P("language", code="es")),
    (P("no_commas"), P("starts_with", phrase="Well, then")),
    (P("question"), P("ends_with", phrase="the end")),
    (P("number"), P("digits", n=2)),
    (P("digits", n=2), P("exact", answer="7")),
    (P("exact", answer="yes"), P("min_words", n=10)),
    (P("letter", letter="e", n=12), P("max_words", n=6)),
]


@pytest.mark.parametrize(("a", "b", "answer"), TOGETHER)
def test_pairs_that_go_together(a, b, answer):
    assert compatible([a, b])
    assert compatible([b, a])
    assert share_fulfilled([a, b], answer) == 1


@pytest.mark.parametrize(("a", "b"), APART)
def test_pairs_in_conflict(a, b):
    assert not compatible([a, b])
    assert not compatible([b, a])
