"""The errors of this room."""


class SimulationError(ValueError):
    """A workload that an accelerator cannot run as described; the message names the op and the remedy."""


class DoesNotFit(SimulationError):
    """A workload that needs more off-chip memory than there is; the message says what would fit."""
