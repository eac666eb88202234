"""The one error class of this room."""


class AnalysisError(ValueError):
    """A question that cannot be answered as it was asked; the message names the input and the remedy."""
