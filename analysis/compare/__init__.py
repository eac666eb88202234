"""One network under several recipes, types and batches, on several accelerators: which is worth it, and how sure."""

from zerocast.analysis.compare.cases import Case, Question, Tried, ask
from zerocast.analysis.compare.ranking import Ranked, pays_from, rank

__all__ = ["Case", "Question", "Ranked", "Tried", "ask", "pays_from", "rank"]
