"""What the README tells a newcomer to write is written and run as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


def block(language: str, name: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    (text,) = [b for b in found if b.splitlines()[0].startswith(f"# {name}")]
    return str(text)


def written(folder: Path, group: str, name: str) -> None:
    """The README's module beside the user's own conf/, since tests must not write into src/."""
    (folder / f"{name}.py").write_text(block("python", f"src/tsr/{group}s/{name}.py"))
    conf = folder / "conf" / group / f"{name}.yaml"
    conf.parent.mkdir(parents=True)
    yaml = block("yaml", f"conf/{group}/{name}.yaml")
    conf.write_text(yaml.replace(f"tsr.{group}s.{name}", name))


def tsr(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True,
        check=False, env=os.environ | {"PYTHONPATH": str(folder)},
    )  # fmt: skip


SMALL = ("model=tiny", "engine=scripted", "iterations=1")


def test_the_readmes_variant_runs_and_shares(tmp_path: Path) -> None:
    written(tmp_path, "variant", "far_apart")
    assert len(block("python", "src/tsr/variants/far_apart.py").splitlines()) <= 13
    swept = "variant=far_apart,past_only"
    planned = tsr(tmp_path, "tsr.plan", "--config-dir", "conf", "-m", swept, *SMALL)
    assert planned.returncode == 0, planned.stderr
    assert "far_apart" in planned.stdout
    done = tsr(tmp_path, "tsr.run", "--config-dir", "conf", "-m", swept, *SMALL)
    assert done.returncode == 0, done.stderr
    assert "far_apart" in done.stdout


def test_the_readmes_judge_scores(tmp_path: Path) -> None:
    written(tmp_path, "judge", "yes_no")
    code = """
from yes_no import YesNo
from tsr.engines.base import Answer
from tsr.judges.base import Case
judge, case = YesNo(low=0, high=1), Case("c", "What?", (), "That.")
request = judge.request(case)
assert "What?" in request.messages[0]["content"] and "That." in request.messages[0]["content"]
said = lambda text: judge.read(case, Answer("c", 0, text, "stop", 1, 1)).score
assert (said("Yes."), said("no"), said("maybe")) == (1.0, 0.0, None)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    planned = tsr(tmp_path, "tsr.plan", "--config-dir", "conf", "judge=yes_no", *SMALL)
    assert planned.returncode == 0, planned.stderr


def test_every_group_and_option_the_readme_names_exists() -> None:
    conf = Path(__file__).parents[1] / "conf"
    table = re.findall(r"^\| (`[^|]+) \| (.+) \|$", README, re.MULTILINE)
    groups = [name for cell, _ in table for name in re.findall(r"`([\w/]+)`", cell)]
    assert {"variant", "model", "judge", "train/dpo"} <= set(groups)
    for cell, options in table:
        for group in re.findall(r"`([\w/]+)`", cell):
            for option in re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", options)):
                places = [conf / g / f"{option}.yaml" for g in re.findall(r"`([\w/]+)`", cell)]
                assert any(p.exists() for p in places), (group, option)


@pytest.mark.parametrize("group", ["judge", "engine", "resources"])
def test_the_readme_names_every_option_of_a_group(group: str) -> None:
    conf = Path(__file__).parents[1] / "conf" / group
    (line,) = [line for line in README.splitlines() if line.startswith(f"| `{group}` |")]
    assert {path.stem for path in conf.glob("*.yaml")} <= set(re.findall(r"`(\w+)`", line))
