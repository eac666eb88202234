"""What serving a language model costs: time to the first token, time and energy of each one after, what fits."""

from zerocast.analysis.serve.answer import Served, Serving, serve

__all__ = ["Served", "Serving", "serve"]
