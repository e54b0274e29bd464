"""`tsr.judge` on small files of ranked answers, with a scripted engine, and the pool beneath it."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import Compose
from stage_tools import Counting, bench, execute, executor, figures

from tsr.data.load import BadData
from tsr.engines.base import Request
from tsr.judge import __main__ as cli
from tsr.judge.study import judged_by
from tsr.quality import Question, read_labelled
from tsr.stages.given import Answered, Given
from tsr.stages.judge import Judgements

RANKED = [
    {"prompt": "One?", "answers": [{"text": "a a and a", "rank": 0}, {"text": "no", "rank": 1}]},
    {"prompt": "Two?", "answers": [{"text": "b", "rank": 2}, {"text": "c c c c", "rank": 1}]},
    {"prompt": "Three?", "answers": [
        {"text": "x", "rank": 1}, {"text": "y y y", "rank": 0}, {"text": "z z", "rank": 0.5}]},
]  # fmt: skip
TINY = ("model=tiny", "engine=scripted")


def lines(rows: Sequence[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def by_length(request: Request, seed: int) -> str:
    """Five points to three words and more, and fewer to fewer."""
    if len(request.messages) < 2:
        return "an answer"
    answer = request.messages[-1]["content"].split("<response>")[1].split("</response>")[0]
    return f"Score: {min(5, 2 * len(answer.split()) - 1)}"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of ranked answers, in the folder where the command runs."""
    monkeypatch.chdir(tmp_path)
    Path("ranked.jsonl").write_text(lines(RANKED))
    return Path("ranked.jsonl")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Counting:
    """Who answers every judge."""
    made = Counting(by_length)
    monkeypatch.setattr("tsr.sweep.build_engine", lambda config, resources: made)
    return made


Told = Callable[..., tuple[int, str, str]]


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Told:
    """The command: its exit code, and what it printed and complained of."""

    def run(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tsr.judge", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return run


def results(folder: str = "runs/judge") -> dict[str, Any]:
    return dict(json.loads((Path(folder) / "judges.json").read_text()))


def timings() -> int:
    """How many stages were executed so far."""
    return sum(len(p.read_text().splitlines()) for p in Path("store/timings").glob("*.jsonl"))


def test_a_study_prints_a_table_and_leaves_files(data: Path, judge: Told, engine: Counting) -> None:
    code, out, err = judge(data, *TINY, "judge.scoring=text")
    assert (code, err) == (0, "")
    assert "How good a judge is" in out
    assert "self text base" in out
    assert "runs/judge: judges.json, judges.png" in out
    (found,) = results().values()
    # Three words or more: 5 points; two: 3; one: 1. All five pairs are in the order of the ranks.
    assert (found["questions"], found["answers"], found["pairs"], found["judged"]) == (3, 7, 5, 5)
    assert found["accuracy"]["value"] == 1.0
    assert Path("runs/judge/judges.png").read_bytes().startswith(b"\x89PNG")
    assert engine.samples == 7

    before = timings()
    again = judge(data, *TINY, "judge.scoring=text", "--out", "elsewhere")
    assert again[0] == 0
    assert again[1].replace("elsewhere", "runs/judge") == out
    assert (timings(), engine.samples) == (before, 7)
    assert results("elsewhere") == results()


def test_judges_side_by_side(data: Path, judge: Told, engine: Counting) -> None:
    swept = ["-m", "judge=self,noisy,verifier,pairwise,ensemble", "judge.scoring=text"]
    code, _, err = judge(data, *TINY, *swept)
    assert code == 0, err
    found = results()
    assert list(found) == ["self text base", "noisy text base", "verifier", "pairwise text base",
                           "ensemble base"]  # fmt: skip
    assert [q["pairwise"] for q in found.values()] == [False, False, False, True, False]
    assert found["verifier"]["judged"] == 0, "what people ranked has no constraints"
    assert found["ensemble base"]["accuracy"] == found["self text base"]["accuracy"]


def test_judges_of_one_name_are_numbered(data: Path, judge: Told, engine: Counting) -> None:
    code, _, err = judge(data, *TINY, "-m", "judge.scoring=text", "seed=0,1")
    assert code == 0, err
    assert list(results()) == ["self text base", "self text base 2"]
    assert engine.samples == 2 * 7


def test_an_external_judge_is_asked_once_whoever_is_asked(
    data: Path, judge: Told, engine: Counting
) -> None:
    external = ["judge=autoj_6b", "judge.model.source=tiny", "judge.model.template=null"]
    code, _, err = judge(data, *TINY, *external, "judge.scoring=text", "--who", "base,m0,m1,m2")
    assert code == 0, err
    (name,) = results()
    assert name == "autoj_6b text"
    assert engine.samples == 7
    assert not list(Path("store/stages").glob("dpo"))
    assert results()[name]["judged"] == 0, "`Score: 5` is no rating"


def test_a_model_without_sft_is_its_own_m0(data: Path, judge: Told, engine: Counting) -> None:
    code, _, err = judge(data, *TINY, "judge.scoring=text", "--who", "base,m0")
    assert code == 0, err
    assert len(results()) == 1
    assert engine.samples == 7


def test_the_first_questions_only(data: Path, judge: Told, engine: Counting) -> None:
    assert judge(data, *TINY, "judge.scoring=text", "--limit", 2)[0] == 0
    assert engine.samples == 4


REFUSED = [
    (["--who", "m3"], "--who m3: must be one of base, m0, m1, m2"),
    (["--who", "m2", "iterations=1"], "--who m2: must be one of base, m0, m1"),
    (["--limit", "0"], "--limit 0: must be >= 1"),
    (["judge.noise.flip=2"], "judge.noise.flip=2.0"),
    (["--format", "llmbar"], "ranked.jsonl:1"),
    (["judge=nobody"], "nobody"),
]


@pytest.mark.parametrize(("args", "told"), REFUSED)
def test_what_is_refused(
    data: Path, judge: Told, engine: Counting, args: list[str], told: str
) -> None:
    code, _, err = judge(data, *TINY, *args)
    assert (code, err.count("\n")) == (2, 1), err
    assert told in err
    assert engine.asked == []
    assert not Path("store").exists()


BAD = {
    "broken.jsonl": ('{"prompt": oops}\n', "broken.jsonl:1: broken JSON"),
    "empty.jsonl": ("", "holds no records"),
    "other.jsonl": ('{"question": "what?"}\n', "in no form that is known"),
    "tied.jsonl": (
        lines([{"prompt": "p", "answers": [{"text": "a", "rank": 0}, {"text": "b", "rank": 0}]}]),
        "no question with two answers that differ in rank",
    ),
    "words.txt": ("hello", "must end in one of"),
}


@pytest.mark.parametrize("name", [*BAD, "missing.jsonl"])
def test_bad_files(data: Path, judge: Told, name: str) -> None:
    content, told = BAD.get(name, (None, "no such file"))
    if content is not None:
        Path(name).write_text(content)
    code, _, err = judge(name, *TINY)
    assert (code, err.count("\n")) == (2, 1), err
    assert told in err
    assert err.count(name) == 1


def test_an_unknown_format(data: Path, judge: Told) -> None:
    code, _, err = judge(data, "--format", "csv")
    assert code == 2
    assert "invalid choice: 'csv'" in err


def test_a_failing_engine_ends_in_a_line_and_the_next_try_goes_on(
    data: Path, judge: Told, engine: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(requests: Sequence[Request]) -> Any:
        raise ConnectionResetError("gone")

    with monkeypatch.context() as broken:
        broken.setattr(engine, "answer", gone)
        code, _, err = judge(data, *TINY, "judge.scoring=text")
    assert code == 1
    assert "ConnectionResetError: gone" in err
    assert judge(data, *TINY, "judge.scoring=text")[0] == 0


# What is beneath

QUESTIONS = [{"input": "Which?", "output_1": "this", "output_2": "that", "label": 2}]


def questions(folder: Path) -> list[Question]:
    (folder / "bar.jsonl").write_text(lines(QUESTIONS))
    return read_labelled(folder / "bar.jsonl")


def test_given_answers_are_known_by_their_content(tmp_path: Path) -> None:
    one = [Answered("a", "p", ("x", "y")), Answered("b", "q", ("z",))]
    assert Given.of(one) == Given.of(list(one))
    changed = [
        [Answered("a", "p", ("x", "y!")), one[1]], [Answered("a", "P", ("x", "y")), one[1]],
        [Answered("c", "p", ("x", "y")), one[1]], one[::-1], one[:1],
    ]  # fmt: skip
    assert len({Given.of(one), *map(Given.of, changed)}) == 6
    pool, run = Given.of(one), executor(tmp_path)
    assert (pool.count, pool.each, pool.siblings) == (3, 2, ())
    execute(run, pool)
    read = pool.read(bench(run))
    assert [(c.prompt_id, c.sample, c.text) for c in read] == [
        ("a", 0, "x"), ("a", 1, "y"), ("b", 0, "z"),
    ]  # fmt: skip
    assert [row.prompt for row in pool.rows(bench(run))] == ["p", "q"]


def test_comparisons_of_given_answers(composed: Compose, tmp_path: Path) -> None:
    config = composed(*TINY, "judge=pairwise", "judge.scoring=text")
    judged = judged_by(config, "base", questions(tmp_path))
    engine = Counting(lambda request, seed: "Verdict: [[A]]")  # whoever comes first
    run = executor(Path(config.store), engine)
    execute(run, judged.scores)
    assert isinstance(judged.scores, Judgements)
    assert judged.scores.rivals == judged.scores.pool
    assert figures(run, judged.scores)["judgements"] == judged.scores.count == 2 * 2
    quality = judged.quality(bench(run), questions(tmp_path))
    assert quality.pairwise
    assert quality.accuracy is not None
    assert quality.accuracy.value == 0.5, "a judge that only sees the order knows nothing"


def test_bad_data_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "bar.jsonl").write_text(lines([QUESTIONS[0] | {"label": 3}]))
    with pytest.raises(BadData, match=r"bar.jsonl:1: label is 3"):
        read_labelled(tmp_path / "bar.jsonl")
