"""Why a layer takes as long as it does, and what would shorten it most."""

from zerocast.analysis.why.changes import Change, best_changes
from zerocast.analysis.why.record import Asked, load_record, save_record
from zerocast.analysis.why.waterfall import CAUSES, waterfall

__all__ = ["CAUSES", "Asked", "Change", "best_changes", "load_record", "save_record", "waterfall"]
