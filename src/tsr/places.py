"""Where files that ship with tsr are."""

from pathlib import Path


def conf_folder() -> Path:
    """The repository's `conf/` where there is one, else the copy packaged with the wheel."""
    here = Path(__file__).resolve().parent
    repository = here.parents[1] / "conf"
    return repository if (repository / "config.yaml").is_file() else here / "conf"
