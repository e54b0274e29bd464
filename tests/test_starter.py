from collections import Counter

import pytest

from tsr.data.constraints import fulfilled, parse
from tsr.data.constraints.text import words
from tsr.data.rows import normalised
from tsr.data.starter import starter_rows
from tsr.data.tasks import tasks

ROWS = starter_rows()


def test_there_are_enough_of_many_topics():
    topics = Counter(row.id.rsplit("-", 1)[0] for row in ROWS)
    assert len(ROWS) >= 140
    assert sum(bool(row.constraints) for row in ROWS) >= 70
    assert len(topics) >= 12
    assert max(topics.values()) < len(ROWS) / 5


def test_no_two_are_the_same():
    assert len({normalised(row.prompt) for row in ROWS}) == len(ROWS)
    assert len({row.response for row in ROWS}) == len(ROWS)
    assert not {row.prompt for row in ROWS} & {row.prompt for row in tasks(2000, seed=0)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_the_answer_keeps_to_what_is_asked(row):
    assert row.prompt == row.prompt.strip()
    assert row.response == row.response.strip()
    missed = [c for c in row.constraints if not fulfilled(parse(c), row.response)]
    assert missed == []


def test_answers_are_concise():
    lengths = sorted(len(words(row.response)) for row in ROWS)
    assert lengths[-1] <= 90
    assert lengths[len(lengths) // 4] >= 15
    assert 30 <= lengths[len(lengths) // 2] <= 60
