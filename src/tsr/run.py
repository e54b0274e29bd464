"""`python -m tsr.run`: one run, or with -m a sweep. Composed by Hydra."""

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from tsr.compose import (
    CONFIG,
    UNDER_NULL,
    ConfigErrors,
    one_line,
    register,
    to_run_config,
    under_null,
)
from tsr.config import RunConfig
from tsr.executors.slurm.queue import SlurmError
from tsr.places import conf_folder
from tsr.quiet import log_to_terminal
from tsr.store.errors import StoreError
from tsr.sweep import RunFailed, run_all

register()

SLURM = "hydra_plugins.tsr_launchers.slurm.SlurmLauncher"
INTERRUPTED = 130
WRONG_CONFIG = 2
FAILED = 1


@hydra.main(config_path=str(conf_folder()), config_name=CONFIG, version_base="1.3")
def task(cfg: DictConfig) -> Any:
    """One run. Stock launchers call this once per job, in a process of the job's own."""
    if _single is not None and HydraConfig.get().mode == RunMode.RUN:
        return _single.append((cfg, HydraConfig.get().launcher))
    if not logging.getLogger("tsr").handlers:
        log_to_terminal()  # into the log of the job
    return run_all([to_run_config(cfg)])


# A single run of `main` is only composed inside Hydra and executed after it: an error raised inside
# would be announced by Hydra in words of its own first.
_single: list[tuple[DictConfig, DictConfig]] | None = None


def main() -> None:
    """The console script `tsr` and `python -m tsr.run`."""
    sys.exit(guarded(_compose_and_run))


def _compose_and_run() -> None:
    global _single  # noqa: PLW0603  Hydra leaves no other way to pass something into a task
    _single = []
    task()
    for cfg, launcher in _single:
        _one(to_run_config(cfg), launcher)


def _one(config: RunConfig, launcher: DictConfig) -> None:
    """Hydra asks no launcher without -m; but who names the cluster wants the cluster."""
    if str(launcher._target_) != SLURM:
        run_all([config])
        return
    from tsr.fanout.launch import launch

    launch([config], launcher.wait, launcher.poll_s)


def guarded(command: Callable[[], Any]) -> int:
    """Run a command; turn what ends it into one clear message and an exit code."""
    # Hydra's own reporting would print several lines and exit; ours wants the exception.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    log_to_terminal()
    try:
        command()
    except ConfigErrors as error:
        return _say(one_line(error), WRONG_CONFIG)
    except (AssertionError, AttributeError) as error:
        if not under_null(error):
            raise
        return _say(UNDER_NULL, WRONG_CONFIG)
    except (StoreError, RunFailed, SlurmError) as error:
        return _say(str(error), FAILED)
    except RuntimeError as error:
        if not type(error).__module__.startswith("submitit."):
            raise
        return _say(_of_submitit(error), FAILED)
    except KeyboardInterrupt:
        return _say("interrupted; the same command goes on from what is finished", INTERRUPTED)
    return 0


def _of_submitit(error: RuntimeError) -> str:
    """What a stock launcher tells: what sbatch refused, or which job came to nothing."""
    lines = [line.strip(" -") for line in str(error).splitlines()]
    return "\n  ".join(["a job of the stock launcher failed:", *filter(None, lines)])


def _say(message: str, code: int) -> int:
    print(f"tsr: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
