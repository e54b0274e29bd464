"""What a training leaves, and what makes one unusable. Light: stages import it while planning."""

ADAPTER = "adapter"
CHECKPOINT = "model"
TRAINER = "trainer"  # checkpoints to go on from, until the work is done

# Where a training has several processes: in TRAINER, and in what they print.
STOP = "STOP"  # they save and stop once it is there
OUTCOMES = "outcomes"  # what became of each
TELLS = "@progress "  # the lines of rank 0 that tell how far it is


class TrainingError(RuntimeError):
    """A training whose numbers say that it must not be used; the message holds them."""


class NoPairs(RuntimeError):
    """There is nothing to train on; the message has the counts."""
