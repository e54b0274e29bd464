"""How good is a judge: the readers, the figures (worked by hand), the table and the plot."""

import gzip
import json
import random
import time
from dataclasses import replace

import pytest
from rich.console import Console

from tsr.data.load import BadData
from tsr.quality import (
    Comparison,
    LabelledAnswer,
    Question,
    as_json,
    distinct,
    measure,
    plot,
    read_all,
    read_labelled,
    table,
)
from tsr.quality.calibration import Bin, calibration_error, reliability

LLMBAR = {"input": "Why?", "output_1": "No.", "output_2": "Because.", "label": 2}
RANKED = {"prompt": "Why?", "answers": [{"text": "No.", "rank": 2}, {"text": "So.", "rank": 1}]}


def reply(text, rank=None, **more):
    return {"text": text, "rank": rank, "synthetic": False, "deleted": False, **more}


def tree(*replies, **more):
    return {"prompt": {"text": "Why?", "message_id": "m1", "replies": [*replies], **more}}


def lines(path, *objects):
    path.write_text("".join(json.dumps(obj) + "\n" for obj in objects), "utf-8")
    return path


def question(name, *ranks, group="all"):
    answers = tuple(LabelledAnswer(f"{name} {n}", float(rank)) for n, rank in enumerate(ranks))
    return Question(name, f"{name}?", answers, group)


def scored(**scores):
    return {(name, n): score for name, found in scores.items() for n, score in enumerate(found)}


def drawn(count, judge, answers=2):
    """Questions whose answers get the scores that judge(rank) gives."""
    questions = [question(f"q{n}", *range(answers)) for n in range(count)]
    scores = {(q.id, n): judge(a.rank) for q in questions for n, a in enumerate(q.answers)}
    return questions, scores


# Reading


def test_llmbar_from_a_folder_is_grouped_by_file(tmp_path):
    (tmp_path / "natural.json").write_text(json.dumps([LLMBAR]), "utf-8")
    other = {**LLMBAR, "input": "How?", "label": 1}
    (tmp_path / "hard.json").write_text(json.dumps([other]), "utf-8")
    (tmp_path / "LICENSE").write_text("MIT", "utf-8")
    hard, natural = read_labelled(tmp_path)
    assert (hard.group, natural.group) == ("hard", "natural")
    assert natural.answers == (LabelledAnswer("No.", 1.0), LabelledAnswer("Because.", 0.0))
    assert (hard.ordered, natural.ordered) == ([(0, 1)], [(1, 0)])
    assert read_labelled(tmp_path / "hard.json", "llmbar") == [hard]


def test_oasst_takes_ranked_human_replies_only(tmp_path):
    best, worst = reply("So.", 0), reply("No.", 2)
    machine, unranked, gone = reply("Hm.", 1, synthetic=True), reply("Eh."), reply("Oh.", 3)
    full = tree(worst, machine, unranked, {**gone, "deleted": True}, best)
    lonely = tree(best, machine, message_id="m2")
    synthetic = tree(best, worst, message_id="m3", synthetic=True)
    [found] = read_labelled(lines(tmp_path / "a.jsonl", full, lonely, synthetic))
    answers = (LabelledAnswer("No.", 2.0), LabelledAnswer("So.", 0.0))
    assert found == Question("m1", "Why?", answers, "a")


def test_ranked_keeps_ids_or_makes_them_from_the_content(tmp_path):
    named = {**RANKED, "id": 7}
    first, second = read_labelled(lines(tmp_path / "a.jsonl", RANKED, named))
    assert (len(first.id), second.id) == (16, "7")
    relabelled = [{**answer, "rank": 5 - answer["rank"]} for answer in RANKED["answers"]]
    for same in ({**RANKED, "prompt": " why?"}, {**RANKED, "answers": relabelled}):
        assert read_labelled(lines(tmp_path / "b.jsonl", same))[0].id == first.id
    other = {**RANKED, "answers": RANKED["answers"][::-1]}
    assert read_labelled(lines(tmp_path / "b.jsonl", other))[0].id != first.id


def test_compressed_files_lose_the_whole_suffix_in_the_group(tmp_path):
    path = tmp_path / "v1.2.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(RANKED).encode()))
    assert read_labelled(path)[0].group == "v1.2"


def test_of_a_question_that_comes_twice_the_first_is_kept(tmp_path):
    flipped = {**LLMBAR, "label": 1}
    path = lines(tmp_path / "a.jsonl", LLMBAR, LLMBAR, flipped)
    assert len(read_all(path)) == 3
    [kept] = read_labelled(path)
    assert kept.ordered == [(1, 0)]


def test_one_id_for_two_questions_is_refused():
    one = question("a", 0, 1)
    with pytest.raises(BadData, match="id a names two questions, in x and y"):
        distinct([replace(one, group="x"), replace(one, prompt="Other?", group="y")])


@pytest.mark.parametrize(
    ("obj", "says"),
    [
        ({**LLMBAR, "label": 3}, "a.jsonl:1: label is 3. Expected: {input, output_1"),
        ({**LLMBAR, "label": "1"}, "label is '1'"),
        ({**LLMBAR, "label": True}, "label is True"),
        ({"input": "Why?", "output_1": "No.", "label": 1}, "output_2 must be a text"),
        ({"output_1": "No.", "output_2": "So.", "label": 1}, "no field input; it has output_1"),
        ({**LLMBAR, "output_1": " "}, "output_1 must be a text that is not empty"),
        ({**LLMBAR, "input": ""}, "the prompt is empty"),
        ({**RANKED, "answers": RANKED["answers"][:1]}, "answers must be a list of two or more"),
        ({**RANKED, "answers": ["a", "b"]}, "answer 1: must be an object"),
        ({**RANKED, "answers": [{"text": "a"}, {"text": "b"}]}, "answer 1: rank must be a finite"),
        (
            {**RANKED, "answers": [{"text": "a", "rank": float("nan")}] * 2},
            "finite number, not nan",
        ),
        ({**RANKED, "answers": [{"text": "a", "rank": True}] * 2}, "finite number, not True"),
        ({**RANKED, "id": ["x"]}, "id must be a text or a whole number"),
        ({**RANKED, "answers": [{"text": "a", "rank": 1}] * 2}, "holds no question with two"),
        (tree(reply("a", 0)), "holds no question with two"),
        (tree("a", "b"), "a reply: must be an object"),
        (tree(reply("a", 0), reply("b", "1")), "reply 2: rank must be a finite number"),
        ({"prompt": "Why?"}, "in no form that is known. Expected one of llmbar: "),
        (["Why?"], "in no form that is known"),
    ],
)
def test_bad_records_say_where_and_what_is_expected(tmp_path, obj, says):
    with pytest.raises(BadData) as error:
        read_labelled(lines(tmp_path / "a.jsonl", obj))
    assert says in str(error.value)
    assert "a.jsonl" in str(error.value)


def test_bad_files_are_refused(tmp_path):
    with pytest.raises(BadData, match="no such file"):
        read_labelled(tmp_path / "none.jsonl")
    with pytest.raises(BadData, match="the folder holds no file"):
        read_labelled(tmp_path)
    with pytest.raises(BadData, match="holds no records"):
        read_labelled(lines(tmp_path / "a.jsonl"))
    with pytest.raises(BadData, match="must be one of auto, llmbar"):
        read_labelled(lines(tmp_path / "a.jsonl", RANKED), "csv")
    with pytest.raises(BadData, match="no field input"):
        read_labelled(lines(tmp_path / "a.jsonl", RANKED), "llmbar")
    (tmp_path / "a.jsonl").write_text("{", "utf-8")
    with pytest.raises(BadData, match=r"a\.jsonl:1: broken JSON"):
        read_labelled(tmp_path / "a.jsonl")


# Judges that score answers


def test_a_worked_example_with_ties_missing_scores_and_equal_ranks():
    # a: right. b: tie. c: a score is missing. d: of 3 answers, two of equal rank: 2 pairs, of
    # which one is right and one wrong.
    questions = [question("a", 0, 1), question("b", 1, 0), question("c", 0, 1)]
    questions.append(question("d", 0, 1, 1))
    scores = scored(a=[5, 1], b=[2, 2], c=[None, 3], d=[3, 2, 4])
    found = measure(questions, scores, low=0, high=5)
    assert (found.questions, found.answers, found.pairs, found.judged) == (4, 9, 5, 4)
    assert found.coverage == 4 / 5
    assert found.accuracy.value == pytest.approx((1 + 0.5 + 1 + 0) / 4)
    assert found.accuracy_untied.value == pytest.approx(2 / 3)
    assert found.tie_rate.value == pytest.approx(1 / 4)
    assert found.parse_rate.value == pytest.approx(8 / 9)
    assert found.mean_better == pytest.approx((5 + 2 + 3 + 3) / 4)
    assert found.mean_worse == pytest.approx((1 + 2 + 2 + 4) / 4)
    # Scores 1, 2, 2, 3, 2, 3, 4 and 5 of a scale to 5, in tenths.
    assert found.histogram == (0, 0, 1, 0, 3, 0, 2, 0, 1, 1)
    assert (found.order, found.pairwise) == (None, False)
    assert "there is no order" in found.order_note


def test_correlations_by_hand():
    # x: goodness 4 3 2 1, scores 4 3 3 1: 5 of 6 pairs agree and one is tied in the scores, so
    # tau-b = 5 / sqrt(6 * 5). Ranks 4 3 2 1 and 4 2.5 2.5 1: rho = 4.5 / sqrt(5 * 4.5).
    one = measure([question("x", 0, 1, 2, 3)], scored(x=[4, 3, 3, 1]), high=5)
    assert one.kendall.value == pytest.approx(5 / 30**0.5)
    assert one.spearman.value == pytest.approx(4.5 / 22.5**0.5)
    # y: equal ranks for the middle, one wrong pair: 5 pairs in ranks, 4 agree, 1 does not; tau-b
    # = 3 / sqrt(5 * 6). Goodness ranks 4 2.5 2.5 1, scores' 3 4 2 1: rho = 3 / sqrt(4.5 * 5).
    other = measure([question("y", 0, 1, 1, 2)], scored(y=[3, 4, 2, 1]), high=5)
    assert other.kendall.value == pytest.approx(3 / 30**0.5)
    assert other.spearman.value == pytest.approx(3 / 22.5**0.5)
    both = measure(
        [question("x", 0, 1, 2, 3), question("y", 0, 1, 1, 2), question("z", 0, 1)],
        scored(x=[4, 3, 3, 1], y=[3, 4, 2, 1], z=[1, None]),
        high=5,
    )
    assert both.correlated == 2
    assert both.kendall.value == pytest.approx(4 / 30**0.5)


def test_missing_answers_leave_a_correlation_over_the_rest():
    found = measure([question("x", 0, 1, 2, 3)], scored(x=[4, None, 3, 1]), high=5)
    assert (found.spearman.value, found.kendall.value, found.judged) == (1, 1, 3)


def test_a_perfect_judge_is_right_everywhere():
    found = measure(*drawn(30, lambda rank: 5 - rank, answers=4), high=5)
    for figure in ("accuracy", "accuracy_untied", "parse_rate", "spearman", "kendall"):
        estimate = getattr(found, figure)
        assert (estimate.value, estimate.low, estimate.high) == (1, 1, 1)
    assert (found.tie_rate.value, found.pairs, found.correlated) == (0, 180, 30)
    turned = measure(*drawn(30, lambda rank: rank, answers=4), high=5)
    assert (turned.accuracy.value, turned.spearman.value, turned.kendall.value) == (0, -1, -1)


def test_a_constant_judge_is_even_and_correlates_with_nothing():
    found = measure(*drawn(30, lambda rank: 3, answers=3), high=5)
    assert (found.accuracy.value, found.tie_rate.value) == (0.5, 1)
    assert (found.accuracy_untied, found.spearman, found.kendall) == (None, None, None)
    assert (found.correlated, found.bins, found.calibration_error) == (0, (), None)


def test_a_random_judge_cannot_be_told_from_chance():
    rng = random.Random(3)
    found = measure(*drawn(200, lambda rank: rng.random()))
    assert found.accuracy.low < 0.5 < found.accuracy.high
    assert found.spearman.low < 0 < found.spearman.high


def test_a_judge_that_says_nothing_has_no_accuracy():
    found = measure(*drawn(5, lambda rank: None))
    assert (found.pairs, found.judged, found.parse_rate.value) == (5, 0, 0)
    assert (found.accuracy, found.tie_rate, found.mean_better) == (None, None, None)


def test_off_scale_nan_and_absent_are_missing_and_not_zero():
    questions = [question(name, 0, 1) for name in "abcd"]
    scores = scored(a=[6, 1], b=[float("nan"), 1], d=[-1, 0])
    found = measure(questions, scores, high=5)
    assert (found.judged, found.parse_rate.value) == (0, 3 / 8)
    assert found.mean_better is None


def test_means_that_differ_by_rounding_only_are_ties():
    score = (0.1 + 0.2) / 0.3
    assert score != 1.0
    found = measure([question("a", 0, 1)], scored(a=[score, 1.0]), high=5)
    assert found.tie_rate.value == 1


def test_groups_have_their_own_accuracy():
    easy = [question(f"e{n}", 0, 1, group="easy") for n in range(3)]
    hard = [question("h0", 0, 1, group="hard"), question("h1", 0, 1, group="hard")]
    scores = {(q.id, n): 1 - n for q in easy for n in range(2)} | scored(h0=[0, 1], h1=[None, 1])
    found = measure(easy + hard, scores)
    assert [(g.name, g.questions, g.pairs, g.judged) for g in found.groups] == [
        ("easy", 3, 3, 3),
        ("hard", 2, 2, 1),
    ]
    assert [group.accuracy.value for group in found.groups] == [1, 0]
    # One question alone says nothing of how much another would differ.
    assert (found.groups[1].accuracy.low, found.groups[1].accuracy.high) == (None, None)


@pytest.mark.parametrize(
    ("scores", "options", "says"),
    [
        (scored(x=[1, 0]), {}, "no answer 0 of a question x"),
        (scored(a=[1, 0, 1]), {}, "no answer 2 of a question a"),
        ({}, {"low": 1.0, "high": 1.0}, "the scale must run"),
        ({}, {"comparisons": [Comparison("a", 0, 0, "first", 1)]}, "needs two answers"),
        ({}, {"comparisons": [("a", 0, 1, "third", 1)]}, "first or second"),
        ({}, {"comparisons": [Comparison("a", 0, 2, "first", 1)]}, "no answer 2"),
    ],
)
def test_what_belongs_to_no_question_is_refused(scores, options, says):
    with pytest.raises(ValueError, match=says):
        measure([question("a", 0, 1)], scores, **options)


def test_questions_need_ids_of_their_own():
    for questions in ([], [question("a", 0, 1)] * 2):
        with pytest.raises(ValueError, match="an id of its own"):
            measure(questions, {})


# Pairwise judges


def test_a_pairwise_judge_worked_by_hand():
    # a: 0 is better and wins in both orders. b: 1 is better; who is shown first wins. c: 0 is
    # better; one order has no verdict, so that the pair is not judged. d: 1 is better, 0 wins.
    questions = [question("a", 0, 1), question("b", 1, 0), question("c", 0, 1), question("d", 1, 0)]
    comparisons = [
        Comparison("a", 0, 1, "first", 1),
        Comparison("a", 0, 1, "second", 1),
        Comparison("b", 0, 1, "first", 1),
        Comparison("b", 0, 1, "second", 0),
        Comparison("c", 0, 1, "first", 1),
        Comparison("c", 0, 1, "second", None),
        Comparison("d", 0, 1, "first", 1),
        Comparison("d", 0, 1, "second", 0.5),
    ]
    found = measure(questions, comparisons=comparisons)
    assert (found.pairwise, found.order_note) == (True, None)
    assert (found.pairs, found.judged) == (4, 3)
    assert found.parse_rate.value == pytest.approx(7 / 8)
    assert found.accuracy.value == pytest.approx((1 + 0.5 + 0) / 3)
    assert found.tie_rate.value == pytest.approx(1 / 3)
    # Shares of the better answers: 1, 0.5, and 1 - 0.75.
    assert found.mean_better == pytest.approx((1 + 0.5 + 0.25) / 3)
    assert found.mean_worse == pytest.approx((0 + 0.5 + 0.75) / 3)
    order = found.order
    # With 0 first: a right, b wrong, c right, d wrong. With 0 second: a right, b right, d tie.
    assert order.accuracy_a_first == pytest.approx(2 / 4)
    assert order.accuracy_a_second == pytest.approx(2.5 / 3)
    # Better first: a and c (0 first) right, b (1 first) right, d (1 first) tie.
    assert order.accuracy_better_first == pytest.approx(3.5 / 4)
    # Better second: a right, b wrong, d wrong.
    assert order.accuracy_better_second == pytest.approx(1 / 3)
    assert (order.consistency, order.both) == (pytest.approx(1 / 3), 3)
    # Win shares 1 0, 0.5 0.5, and 0.75 0.25; those of c are missing.
    assert found.histogram == (1, 0, 1, 0, 0, 2, 0, 1, 0, 1)
    assert (found.correlated, found.spearman.value) == (2, 0)


def test_naming_the_pair_the_other_way_round_changes_nothing():
    rng, opposite = random.Random(1), {"first": "second", "second": "first"}
    questions = [question(f"q{n}", *rng.sample(range(3), 3)) for n in range(20)]
    comparisons = [
        Comparison(q.id, a, b, order, rng.choice([0, 0.5, 1, None]))
        for q in questions
        for a, b in ((0, 1), (0, 2), (1, 2))
        for order in ("first", "second")
    ]
    swapped = [
        Comparison(
            c.question, c.b, c.a, opposite[c.order], None if c.score is None else 1 - c.score
        )
        for c in comparisons
    ]
    assert measure(questions, comparisons=comparisons) == measure(questions, comparisons=swapped)


def test_a_judge_that_likes_the_first_place_is_found_out():
    questions = [question(f"q{n}", n % 2, 1 - n % 2) for n in range(10)]
    comparisons = [
        Comparison(q.id, 0, 1, order, float(order == "first"))
        for q in questions
        for order in ("first", "second")
    ]
    found = measure(questions, comparisons=comparisons)
    assert (found.accuracy.value, found.tie_rate.value, found.order.consistency) == (0.5, 1, 0)
    assert (found.order.accuracy_better_first, found.order.accuracy_better_second) == (1, 0)


def test_one_order_alone_judges_where_no_other_was_asked():
    found = measure([question("a", 0, 1)], comparisons=[Comparison("a", 0, 1, "second", 1)])
    assert (found.judged, found.accuracy.value) == (1, 1)
    assert (found.order.accuracy_a_first, found.order.consistency, found.order.both) == (
        None,
        None,
        0,
    )


def test_scores_that_are_given_stand_beside_comparisons():
    comparisons = [Comparison("a", 0, 1, "first", 1)]
    found = measure([question("a", 0, 1)], scored(a=[1, 4]), comparisons, high=5)
    assert (found.accuracy.value, found.spearman.value) == (1, -1)
    assert (found.mean_better, found.high) == (1, 5)


# Calibration


def test_calibration_by_hand():
    bins = reliability([0.1, 0.1, -0.2, 0.4, 0.0], bins=2)
    assert bins == (Bin(2, 0.1, 1.0), Bin(2, pytest.approx(0.3), 0.5))
    assert [b.expected for b in bins] == [0.55, pytest.approx(0.65)]
    assert calibration_error(bins) == pytest.approx((0.45 + 0.15) / 2)


def test_equal_margins_stay_together_and_bins_grow_with_the_pairs():
    assert [b.n for b in reliability([0.2] * 100 + [1.0] * 20)] == [100, 20]
    assert len(reliability([n / 100 for n in range(1, 40)])) == 1
    assert [b.n for b in reliability([n / 1000 for n in range(1, 401)])] == [40] * 10
    assert reliability([0.0]) == ()


def test_a_judge_whose_margins_are_chances_has_no_calibration_error():
    rng = random.Random(0)
    margins = [rng.random() for _ in range(20_000)]
    bins = reliability([m if rng.random() < 0.5 + m / 2 else -m for m in margins])
    assert calibration_error(bins) < 0.015


# Intervals


def noisy(count, seed=0):
    rng = random.Random(seed)
    return drawn(count, lambda rank: min(1, max(0, rng.gauss(0.6 - 0.1 * rank, 0.2))), answers=3)


def test_the_bootstrap_is_seeded_and_narrows_with_more_questions():
    small, large = noisy(40), noisy(640)
    assert measure(*small) == measure(*small)
    assert measure(*small).accuracy != measure(*small, seed=1).accuracy
    for figure in ("accuracy", "spearman", "kendall"):
        few, many = (getattr(measure(*data), figure) for data in (small, large))
        assert few.low < few.value < few.high
        # Sixteen times the questions: a quarter of the width.
        assert (many.high - many.low) / (few.high - few.low) == pytest.approx(0.25, abs=0.1)


def test_the_interval_of_a_share_is_the_binomial_one():
    # 60 of 100 questions right: 1.96 * sqrt(0.6 * 0.4 / 100) = 0.096 to either side.
    questions = [question(f"q{n}", 0, 1) for n in range(100)]
    scores = {
        (q.id, i): float((i == 0) == (n < 60)) for n, q in enumerate(questions) for i in (0, 1)
    }
    found = measure(questions, scores, resamples=8000).accuracy
    assert (found.low, found.high) == (
        pytest.approx(0.504, abs=0.02),
        pytest.approx(0.696, abs=0.02),
    )


def test_pairs_of_one_question_count_as_one_draw():
    # Ten pairs in each of four questions, all right or all wrong: no narrower than four would be.
    many = [question(f"q{n}", *range(5)) for n in range(4)]
    good = {(q.id, i): 1 - i / 5 if n < 2 else i / 5 for n, q in enumerate(many) for i in range(5)}
    found = measure(many, good)
    assert (found.pairs, found.accuracy.value) == (40, 0.5)
    assert (found.accuracy.low, found.accuracy.high) == (0, 1)


def test_blocks_of_resamples_give_what_one_block_gives(monkeypatch):
    data = noisy(30)
    whole = measure(*data)
    monkeypatch.setattr("tsr.quality.bootstrap.CELLS", 30 * 7)
    parts = measure(*data)
    assert parts.accuracy.low == pytest.approx(whole.accuracy.low)
    assert parts.kendall.high == pytest.approx(whole.kendall.high)


def test_a_thousand_questions_take_seconds_at_most():
    data = noisy(1000)
    measure(*noisy(2))
    begin = time.process_time()
    measure(*data)
    assert time.process_time() - begin < 3  # about 0.6 s when the machine is idle


# Showing


@pytest.fixture
def judges():
    good, silent = noisy(60), drawn(60, lambda rank: None, answers=3)
    questions, scores = good
    mixed = [replace(q, group=f"_part_{n % 2} costs $1 or $2") for n, q in enumerate(questions)]
    comparisons = [
        Comparison(q.id, 0, 1, order, n % 3 / 2 if order == "first" else 1)
        for n, q in enumerate(mixed)
        for order in ("first", "second")
    ]
    return {
        "good": measure(mixed, scores),
        "_silent [x] $y$": measure(*silent, low=1, high=5),
        "constant": measure(*drawn(60, lambda rank: 3, answers=3), low=1, high=5),
        "pairwise": measure(mixed, comparisons=comparisons),
        "single": measure(*drawn(1, lambda rank: 1 - rank)),
    }


def shown(judges):
    console = Console(width=220)
    with console.capture() as text:
        console.print(table(judges))
    return text.get()


def test_the_table_shows_judges_side_by_side_and_dashes_for_missing(judges):
    text = shown(judges)
    assert "_silent [x] $y$" in text
    rows = {cells[1].strip(): [c.strip() for c in cells[2:-1]] for cells in _cells(text)}
    assert rows["accuracy"][1] == "-"
    assert rows["accuracy"][2] == "0.500 [0.500,0.500]"
    assert rows["accuracy"][4] == "1.000"
    assert rows["pairs judged / of differing rank"][:2] == ["180 / 180", "0 / 180"]
    assert rows["Spearman, mean over questions"][1:3] == ["-", "-"]
    assert rows["same verdict in both orders"] == ["-", "-", "-", "0.333", "-"]
    assert "accuracy in _part_1 costs $1 or $2" in rows


def _cells(text):
    return [line.split("│") for line in text.splitlines() if line.count("│") > 2]


def test_the_table_leaves_out_what_no_judge_knows(judges):
    text = shown({"constant": judges["constant"]})
    assert "Spearman" not in text
    assert "same verdict" not in text
    assert "accuracy in" not in text


def test_json_is_finite_or_null(judges):
    found = json.loads(json.dumps(as_json(judges), allow_nan=False))
    assert list(found) == list(judges)
    assert found["constant"]["spearman"] is None
    assert found["_silent [x] $y$"]["accuracy"] is None
    assert found["single"]["accuracy"] == {"value": 1, "low": None, "high": None}
    assert found["good"]["order"] is None
    assert "no order" in found["good"]["order_note"]
    assert found["good"]["coverage"] == 1
    assert found["good"]["bins"][0].keys() == {"n", "margin", "accuracy", "expected"}
    assert found["pairwise"]["order"]["consistency"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("names", [[0], [1], [2], [0, 3], [0, 1, 2, 3, 4]])
def test_the_plot_is_written_whatever_is_missing(tmp_path, judges, names):
    chosen = {list(judges)[n]: list(judges.values())[n] for n in names}
    plot(chosen, tmp_path / "judges.png")
    assert (tmp_path / "judges.png").read_bytes().startswith(b"\x89PNG")


def test_a_plot_needs_judges(tmp_path):
    with pytest.raises(ValueError, match="needs a judge"):
        plot({}, tmp_path / "judges.png")
