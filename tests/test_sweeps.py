"""Named sweeps, lists that go together, and that plan, run and plain Hydra compose the same."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from test_config import WRONG

from tsr.compose import CONFIG, ConfigErrors, compose_all, conf_folder, one_line, to_run_config
from tsr.composer import Composer
from tsr.config import RunConfig
from tsr.expand import expand, line_of
from tsr.plan.__main__ import show
from tsr.run import guarded
from tsr.settings import Refused

SWEEPS = Path(__file__).parents[1] / "sweeps"
TABLE_2 = [("self_rewarding", 4), ("past_only", 4), ("temporal", 2)]
TWO = [("self_rewarding", 4), ("temporal", 2)]
FAMILIES = ["llama3_3b", "llama3_8b", "llama3_70b", "qwen", "mistral"]
JUDGES = ["self", "autoj_6b", "autoj_13b"]
EXPECTED: dict[str, list[tuple[Any, ...]]] = {  # variant, iterations, and what else is varied
    "ablation": [(*row, "smollm2", "self", 4, 0) for row in TABLE_2],
    "families": [(*row, model, "self", 7, 0) for row in TWO for model in FAMILIES],
    "judges": [(*row, "smollm2", judge, 4, 0) for row in TWO for judge in JUDGES],
    "k": [("temporal", 2, "smollm2", "self", k, 0) for k in (3, 5, 7, 9, 11)],
    "seeds": [(*row, "smollm2", "self", 4, seed) for row in TABLE_2 for seed in range(5)],
}


def row(c: RunConfig) -> tuple[Any, ...]:
    return (c.variant.name, c.iterations, c.model.name, c.judge.name, c.k, c.seed)


def rows(*overrides: str) -> list[tuple[str, int]]:
    return [row(config)[:2] for config in compose_all(overrides, multirun=False)]


def test_every_sweep_has_a_row_here_and_in_the_table() -> None:
    names = {path.stem for path in SWEEPS.glob("*.yaml")} - {"none"}
    assert names == set(EXPECTED)
    told = re.findall(r"^\| `(\w+)` \|", (SWEEPS / "README.md").read_text(), re.MULTILINE)
    assert set(told) == names
    assert (SWEEPS.parent / "conf" / "sweep").resolve() == SWEEPS


@pytest.mark.parametrize("name", EXPECTED)
def test_what_a_named_sweep_runs_and_that_the_plan_prices_it(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [row(config) for config in compose_all([f"sweep={name}"], False)] == EXPECTED[name]
    assert guarded(lambda: show([f"sweep={name}", f"store={tmp_path}"], False, False)) == 0
    assert "generations" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


COMMANDS = [
    (["iterations=1"], [("self_rewarding", 1), ("past_only", 1), ("temporal", 1)]),
    (["variant=temporal"], [("temporal", 2)]),
    (["variant='past_only',temporal"], [("past_only", 4), ("temporal", 2)]),
    (["variant=future_only"], [("future_only", 4), ("future_only", 2)]),
    (["variant=temporal", "iterations=1,3"], [("temporal", 1), ("temporal", 3)]),
    (["iterations=3", "variant=future_only"], [("future_only", 3)]),
    (["experiment=demo"], TABLE_2),
]


@pytest.mark.parametrize(("given", "expected"), COMMANDS)
def test_the_command_line_chooses_rows_or_takes_their_place(
    given: list[str], expected: list[tuple[str, int]]
) -> None:
    assert rows("sweep=ablation", *given) == expected


def test_lists_go_together_on_the_command_line_and_multiply() -> None:
    zipped = (
        "hydra.sweeper.zipped=[{variant:[temporal,past_only],iterations:[1,3]},{k:[2],seed:[8]}]"
    )
    swept = compose_all(["model=tiny", zipped, "judge=self,frozen"], multirun=True)
    assert [row(config) for config in swept] == [
        (variant, n, "tiny_llama", judge, 2, 8)
        for variant, n in (("temporal", 1), ("past_only", 3))
        for judge in ("self", "frozen")
    ]


VALUES = [
    (None, "null"), (True, "True"), (4, "4"), (1e-7, "1e-07"), (0.5, "0.5"), ("m0", "m0"),
    ("train/dpo", "train/dpo"), ("4", "'4'"), ("null", "'null'"), ("", "''"), ([], "[]"),
    ({}, "{}"), ("a,b (c)", "'a,b (c)'"), ("it's", r"'it\'s'"), (["a b", 2], "['a b',2]"),
    ({"current": 1.0, "of": ["x y"]}, "{current:1.0,of:['x y']}"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "text"), VALUES)
def test_a_value_comes_back_from_its_override(value: Any, text: str) -> None:
    line = line_of("some.key", value)
    assert line == f"some.key={text}"
    again = OverridesParser.create().parse_override(line).value()
    assert (again, type(again)) == (value, type(value))


def test_values_of_every_kind_reach_the_run() -> None:
    group = {"variant.anchor": ["previous", "m0"], "judge.prompt_file": [None, None]}
    group |= {"train.dpo.beta": [0.5, 1e-3], "train.dpo.loss": [["sigmoid", "sft"], ["hinge"]]}
    runs = expand([], [group, {"model": ["tiny"]}])
    with hydra():
        configs = [to_run_config(cfg) for cfg in composer().runs(runs)]
    found = [(c.variant.anchor, c.train.dpo.beta, c.train.dpo.loss) for c in configs]
    assert found == [("previous", 0.5, ["sigmoid", "sft"]), ("m0", 1e-3, ["hinge"])]


REFUSED = [
    ([{"variant": ["a", "b", "c"], "iterations": [4, 2]}], "variant 3, iterations 2"),
    ([{"variant": ["a"], "iterations": 4}], "variant 1, iterations no list"),
    ([{"variant": [], "iterations": []}], "must hold something; here: variant 0, iterations 0"),
    ([{"k": [1]}, {"k": [2]}], "k: a key can be in one group of lists only"),
]


@pytest.mark.parametrize(("zipped", "told"), REFUSED)
def test_lists_that_cannot_go_together_are_refused(zipped: list[Any], told: str) -> None:
    with pytest.raises(Refused, match=f"^hydra.sweeper.zipped: .*{told}"):
        expand([], zipped)


def test_equal_runs_are_one_and_batches_keep_their_size() -> None:
    parsed = OverridesParser.create().parse_overrides(["k=3,5,3", "seed=1"])
    assert expand(parsed, []) == [["k=3", "seed=1"], ["k=5", "seed=1"]]


class hydra:  # noqa: N801  Hydra as tsr.plan starts it
    def __enter__(self) -> None:
        GlobalHydra.instance().clear()
        self.context = initialize_config_dir(str(conf_folder()), version_base="1.3")
        self.context.__enter__()

    def __exit__(self, *error: object) -> None:
        self.context.__exit__(*error)


def composer() -> Composer:
    return Composer(GlobalHydra.instance().config_loader(), CONFIG, [])


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[str]]]:
    """What a sweep would hand to the local launcher, which then does nothing."""
    jobs: list[list[str]] = []

    def launch(
        _: object, overrides: Sequence[Sequence[str]], __: int = 0, **___: Any
    ) -> list[JobReturn]:
        jobs.extend(list(one) for one in overrides)
        return []

    local = "hydra_plugins.tsr_launchers.local.LocalLauncher"
    monkeypatch.setattr(Plugins.instance().class_name_to_class[local], "launch", launch)
    with hydra():
        yield jobs


COMMAND_LINES = [
    ["sweep=ablation", "k=3,4", "hydra.job.name=mine"],
    ["sweep=families", "model=qwen,tiny"],
    ["sweep=seeds", "seed=7", "variant=temporal"],
    ["variant=glob(*_only)", "train.dpo.loss=[sigmoid],[sigmoid,sft]", "judge.prompt_file=null"],
]


@pytest.mark.parametrize("command", COMMAND_LINES)
def test_plan_and_run_make_the_same_runs_of_a_command_line(
    launched: list[list[str]], tmp_path: Path, command: list[str]
) -> None:
    command = [f"runs={tmp_path}", *command]
    main = GlobalHydra.instance().hydra
    assert main is not None
    main.multirun(CONFIG, lambda _: None, command, with_log_configuration=False)
    run = [to_run_config(cfg) for cfg in composer().runs(launched)]
    assert run
    assert compose_all(command, multirun=True) == run


SETS = [
    "", "model=tiny", "model=llama3_8b k=2", "model=smollm2 train/dpo=full", "judge=ensemble",
    "judge=frozen judge.noise.flip=0.1", "variant=past_only variant.anchor=previous",
    "experiment=demo", "sweep=ablation", "data=starter eval=heldout",
    "judge=openai judge.model.repo=x", "+engine@judge.engine=vllm judge=autoj_6b",
    "model=tiny model.architecture=qwen", "~tracker", "sweep=families k=3", "++k=8",
    "judge=ensemble +judge@judge.members.third=autoj_6b +judge.weights.third=2", "judge={low:1}",
    "hydra/launcher=basic k=9", "++k=9", "resources=one_gpu train.dpo.loss=[sigmoid,sft]",
]  # fmt: skip


def test_many_at_once_are_what_hydra_composes_one_by_one() -> None:
    with hydra():
        many = composer().runs([*(one.split() for one in SETS), []])
        alone = [compose(CONFIG, one.split()) for one in [*SETS, ""]]
    assert many == alone
    assert [to_run_config(cfg) for cfg in many] == [to_run_config(cfg) for cfg in alone]


def failure(make: Any) -> str:
    with pytest.raises(ConfigErrors) as caught:
        make()
    return one_line(caught.value)


@pytest.mark.parametrize("overrides", sorted({overrides for overrides, _ in WRONG})[::4])
def test_refusals_are_those_of_hydra(overrides: str) -> None:
    given = overrides.split()
    with hydra():
        many = failure(lambda: [to_run_config(c) for c in composer().runs([[], given])])
        assert many == failure(lambda: to_run_config(compose(CONFIG, given)))
