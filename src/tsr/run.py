"""`python -m tsr.run`: one run, or with -m a sweep. Composed by Hydra."""

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import hydra
from omegaconf import DictConfig

from tsr.compose import CONFIG, ConfigErrors, conf_folder, one_line, register, to_run_config

register()

INTERRUPTED = 130
WRONG_CONFIG = 2
FAILED = 1


@hydra.main(config_path=str(conf_folder()), config_name=CONFIG, version_base="1.3")
def task(cfg: DictConfig) -> Any:
    """One run; launchers call this once per job."""
    from tsr.sweep import run_all

    return run_all([to_run_config(cfg)])


def main() -> None:
    """The console script `tsr` and `python -m tsr.run`."""
    sys.exit(guarded(task))


def guarded(command: Callable[[], Any]) -> int:
    """Run a command; turn what ends it into one clear message and an exit code."""
    from tsr.store.errors import StoreError

    # Hydra's own reporting would print several lines and exit; ours wants the exception.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        command()
    except ConfigErrors as error:
        return _say(one_line(error), WRONG_CONFIG)
    except StoreError as error:
        return _say(str(error), FAILED)
    except KeyboardInterrupt:
        return _say("interrupted; the same command goes on from what is finished", INTERRUPTED)
    except Exception as error:
        if type(error).__name__ != "RunFailed":
            raise
        return _say(f"failed: {error}", FAILED)
    return 0


def _say(message: str, code: int) -> int:
    print(f"tsr: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
