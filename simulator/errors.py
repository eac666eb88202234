"""The one error class of this room."""


class SimulationError(ValueError):
    """A workload that an accelerator cannot run as described; the message names the op and the remedy."""
