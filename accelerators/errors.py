"""The one error class of this room."""


class AcceleratorError(ValueError):
    """An accelerator description that cannot be used; the message names the key, the value and the remedy."""
