"""Libraries are kept quiet on the terminal; what they log goes to the stage's own file."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LIBRARIES = ("transformers", "trl", "peft", "accelerate", "datasets", "py.warnings")


@contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Append everything that is logged meanwhile to a file, and keep libraries off the terminal."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in ("tsr", *LIBRARIES)]
    logging.getLogger("tsr").setLevel(logging.DEBUG)
    logging.captureWarnings(not sys.warnoptions)
    for logger in loggers:
        logger.addHandler(handler)
    _hush()
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()
        logging.captureWarnings(False)


def log_to_terminal() -> None:
    """What tsr itself says, from INFO on, goes to standard error."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.INFO)
    logger = logging.getLogger("tsr")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)


def _hush() -> None:
    """No bars and no handlers of the libraries' own; an import made later finds the variables."""
    os.environ["TQDM_DISABLE"] = "1"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["TRANSFORMERS_VERBOSITY"] = "warning"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for name in LIBRARIES:
        logger = logging.getLogger(name)
        logger.propagate = False
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                logger.removeHandler(handler)
    if "transformers" in sys.modules:
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
    if "datasets" in sys.modules:
        import datasets

        datasets.disable_progress_bars()
    if not sys.warnoptions:
        warnings.simplefilter("default")
