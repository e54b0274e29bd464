import gzip
import hashlib
import json
import subprocess
import sys
import types

import pytest

from tsr.data.load import BadData, dedupe, file_sha256, hub_rows, oasst_rows, read_rows
from tsr.data.rows import Row, prompt_id
from tsr.settings import Refused

QA = {"prompt": "Why?", "response": "Because."}
TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Why?"},
    {"role": "assistant", "content": "Because."},
    {"role": "user", "content": "Really?"},
    {"role": "assistant", "content": "Really."},
]


def lines(path, *objects):
    path.write_text("".join(json.dumps(obj) + "\n" for obj in objects), "utf-8")
    return path


def test_every_format_gives_the_same_rows(tmp_path):
    from pyarrow import Table, parquet

    objects = [QA, {"prompt": "Où ?", "response": None}]
    plain = lines(tmp_path / "a.jsonl", *objects)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    (tmp_path / "a.json").write_text(json.dumps(objects, indent=2), "utf-8")
    parquet.write_table(Table.from_pylist(objects), tmp_path / "a.parquet")
    expected = [Row(prompt_id("Why?"), "Why?", "Because."), Row(prompt_id("Où ?"), "Où ?")]
    for suffix in ("jsonl", "jsonl.gz", "json", "parquet"):
        assert read_rows(tmp_path / f"a.{suffix}") == expected


def test_fields_can_have_other_names(tmp_path):
    path = lines(tmp_path / "a.jsonl", {"q": "Why?", "a": "Because.", "n": 7})
    rows = read_rows(path, prompt_field="q", response_field="a", id_field="n")
    assert rows == [Row("7", "Why?", "Because.")]


@pytest.mark.parametrize(
    ("obj", "fields"),
    [
        ({"messages": TALK}, {}),
        ({"prompt": "Why?", "messages": TALK}, {"response_field": "messages"}),
        ({"prompt": TALK, "chosen": TALK}, {"response_field": "chosen"}),
        ({"talk": TALK, "chosen": TALK}, {"prompt_field": "talk", "response_field": "chosen"}),
    ],
)
def test_conversations_give_their_first_question_and_answer(tmp_path, obj, fields):
    [row] = read_rows(lines(tmp_path / "a.jsonl", obj), **fields)
    assert (row.prompt, row.response, row.system) == ("Why?", "Because.", "Be kind.")


@pytest.mark.parametrize(
    ("turns", "system"),
    [
        (TALK[1:], None),
        ([{"role": "system", "content": " "}, *TALK[2:]], None),
        ([*TALK[2:4], TALK[0]], None),
        ([TALK[0], *TALK[2:4], {"role": "system", "content": "Be brief."}], "Be kind."),
    ],
)
def test_a_system_turn_counts_before_the_first_question(tmp_path, turns, system):
    [row] = read_rows(lines(tmp_path / "a.jsonl", {"messages": turns}))
    assert row.system == system


def test_a_row_without_a_system_turn_is_written_as_before_there_was_one():
    row = Row("1", "Why?", "Because.")
    assert row.as_json() == {"id": "1", "prompt": "Why?", "response": "Because.", "constraints": []}
    kind = Row("1", "Why?", "Because.", system="Be kind.")
    assert Row.from_json(kind.as_json()) == kind
    assert Row.from_json(row.as_json()) == row


def test_constraints_come_along(tmp_path):
    from pyarrow import Table, parquet

    constraints = [{"kind": "max_words", "n": 3}, {"kind": "includes", "words": ["a"]}]
    path = lines(tmp_path / "a.jsonl", QA | {"constraints": constraints})
    parquet.write_table(
        Table.from_pylist([QA | {"constraints": constraints}]), tmp_path / "a.parquet"
    )
    for found in (path, tmp_path / "a.parquet"):
        assert read_rows(found)[0].constraints == tuple(constraints)


def test_blank_lines_and_byte_order_marks_are_passed_over(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(QA).encode() + b"\r\n\n  \n")
    assert len(read_rows(path)) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "a.jsonl: holds no rows"),
        (b"\n\n", "a.jsonl: holds no rows"),
        (b'{"prompt": "a"}\n{"prompt": \n', "a.jsonl:2: broken JSON (column"),
        (b'{"prompt": "a"}\n\n{"text": 1, "n": 2}\n', "a.jsonl:3: no field prompt; it has text, n"),
        (b"[1]\n", "a.jsonl:1: must be an object with fields, not a list"),
        (
            b'{"prompt": 5}\n',
            "a.jsonl:1: prompt must be a text or a list of messages, not a number",
        ),
        (b'{"prompt": null}\n', "not empty"),
        (b'{"prompt": "a", "response": {}}\n', "response must be a text or a list of messages"),
        (b'{"prompt": " \\n"}\n', "a.jsonl:1: the prompt is empty"),
        (b'{"prompt": "\xe9"}\n', "a.jsonl:1: not UTF-8 (byte 13"),
        (b'{"prompt": "a \\ud800"}\n', "half of a character"),
        (b'{"prompt": "a", "constraints": {}}\n', "constraints must be a list"),
        (b'{"prompt": "a", "constraints": [{"kind": "x"}]}\n', "a.jsonl:1: constraint kind='x'"),
        (b'{"messages": "hi"}\n', "messages must be a list, not a text"),
        (b'{"messages": [{"role": "user"}]}\n', "with a role and a content text"),
        (
            b'{"messages": [{"role": "user", "content": "a"}]}\n',
            "the messages have no assistant turn",
        ),
        (b'{"messages": [{"role": "assistant", "content": "a"}]}\n', "have no user turn"),
        (b"[" * 100_000, "a.jsonl:1: JSON nested too deeply"),
    ],
)
def test_bad_lines_are_named(tmp_path, content, said):
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(BadData) as error:
        read_rows(path)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"prompt\n", "must end in one of .jsonl, .jsonl.gz, .json, .parquet"),
        ("a.json", b"", "holds no rows"),
        ("a.json", b'{"prompt": "a"}', "must hold a list of objects"),
        ("a.json", b'[{"prompt": "a"},\n {"prompt"}]', "a.json: broken JSON (line 2, column"),
        (
            "a.json",
            b'[{"prompt": "a"}, {"text": "b"}]',
            "a.json: row 2: no field prompt; it has text",
        ),
        ("a.jsonl.gz", b'{"prompt": "a"}', "not a whole gzip file"),
        ("a.jsonl.gz", gzip.compress(b'{"prompt": "a"}' * 99)[:-9], "not a whole gzip file"),
        ("a.parquet", b"PAR2", "not a Parquet file"),
    ],
)
def test_bad_files_are_named(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadData) as error:
        read_rows(tmp_path / name)
    assert said in str(error.value)


def test_missing_files_are_named(tmp_path):
    (tmp_path / "b.jsonl").mkdir()
    with pytest.raises(BadData, match=r"a\.jsonl: no such file"):
        read_rows(tmp_path / "a.jsonl")
    with pytest.raises(BadData, match=r"b\.jsonl: is a folder"):
        read_rows(tmp_path / "b.jsonl")
    with pytest.raises(BadData, match="no such file"):
        file_sha256(tmp_path / "a.jsonl")


def test_a_response_field_that_was_named_must_be_there(tmp_path):
    path = lines(tmp_path / "a.jsonl", QA)
    with pytest.raises(BadData, match="no field answer; it has prompt, response"):
        read_rows(path, response_field="answer")


def test_ids_must_be_unique(tmp_path):
    path = lines(tmp_path / "a.jsonl", QA | {"id": "x"}, QA | {"id": "y"}, QA | {"id": "x"})
    with pytest.raises(BadData, match=r"a\.jsonl:3: id x is already that of .*a\.jsonl:1"):
        read_rows(path, id_field="id")
    # Without an id field, the same prompt twice is for `dedupe`.
    assert len(read_rows(path)) == 3


def test_ids_must_be_texts_or_numbers(tmp_path):
    path = lines(tmp_path / "a.jsonl", QA | {"id": None})
    with pytest.raises(BadData, match="id must be a text or a whole number, not empty"):
        read_rows(path, id_field="id")


def test_file_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def reply(rank, text, **more):
    return {"text": text, "role": "assistant", "rank": rank, "synthetic": False} | more


def tree(name, *replies, **more):
    prompt = {
        "message_id": name,
        "text": f"Question {name}?",
        "role": "prompter",
        "replies": replies,
    }
    return {"message_tree_id": name, "prompt": prompt | more}


def test_trees_give_first_turns(tmp_path):
    path = lines(
        tmp_path / "trees.jsonl",
        tree("a", reply(1, "worse"), reply(0, "best", replies=[reply(0, "later")])),
        tree("b", reply(0, "machine", synthetic=True), reply(1, "second")),
        tree("c", reply(None, "unranked")),
        tree("d", reply(0, "fine"), synthetic=True),
        tree("e", reply(0, "gone", deleted=True)),
        tree("f"),
    )
    assert oasst_rows(path) == [Row("a", "Question a?", "best")]
    unanswered = [Row(name, f"Question {name}?") for name in "bcef"]
    assert oasst_rows(path, answered=False) == [Row("a", "Question a?", "best"), *unanswered]


@pytest.mark.parametrize(
    ("obj", "said"),
    [
        (QA, "trees.jsonl:1: no message tree: it has no prompt object"),
        (tree("a"), "holds no human prompt with a reply of rank 0"),
        (tree("a", reply(0, 5)), "response must be a text"),
    ],
)
def test_bad_trees_are_named(tmp_path, obj, said):
    with pytest.raises(BadData) as error:
        oasst_rows(lines(tmp_path / "trees.jsonl", obj))
    assert said in str(error.value)


def test_hub_rows_have_the_same_fields(monkeypatch):
    calls = []

    def load_dataset(repo, **options):
        calls.append((repo, options))
        return [QA, {"prompt": "How?", "messages": TALK}]

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    assert [row.prompt for row in hub_rows("org/set", "abc123", "train")] == ["Why?", "How?"]
    assert calls == [("org/set", {"name": None, "split": "train", "revision": "abc123"})]
    with pytest.raises(BadData, match=r"org/set@abc123 train: row 1: no field text; it has prompt"):
        hub_rows("org/set", "abc123", "train", prompt_field="text")
    with pytest.raises(BadData, match="needs the revision"):
        hub_rows("org/set", "", "train")


ROWS = [Row(str(n), prompt) for n, prompt in enumerate(["One", "two", " ONE ", "three", "Two"])]


def test_duplicates_are_removed():
    kept, removed = dedupe(ROWS, [Row("x", "THREE")], "remove")
    assert ([row.prompt for row in kept], removed) == (["One", "two"], 3)
    assert dedupe(ROWS[:2], [], "refuse") == (ROWS[:2], 0)


def test_duplicates_are_refused():
    with pytest.raises(BadData) as error:
        dedupe([*ROWS, *ROWS], [], "refuse")
    said = str(error.value)
    assert "7 prompts were there already: 2 (' ONE '); 4 ('Two'); 0 ('One') and 4 more" in said
    assert "data.duplicates=remove" in said


def test_unknown_ways_with_duplicates_are_refused():
    with pytest.raises(Refused, match="must be one of remove, refuse"):
        dedupe(ROWS, [], "ignore")


def test_ids_do_not_depend_on_spacing_case_or_form():
    assert prompt_id("Où  est la gare?\n") == prompt_id("où est la gare?")
    assert prompt_id("cafe\u0301") == prompt_id("café")
    assert prompt_id("a b") != prompt_id("ab")
    assert len(prompt_id("")) == 16


def test_reading_data_is_light():
    code = (
        "import sys, tsr.data.starter, tsr.data.tasks, tsr.judges.parse\n"
        "heavy = {'torch', 'pandas', 'pyarrow', 'datasets', 'numpy', 'transformers'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
