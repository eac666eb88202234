"""What a whole training run costs under a schedule of recipes: priced at its distinct points, integrated over steps."""

from zerocast.analysis.train.run import train
from zerocast.analysis.train.trained import Part, Trained

__all__ = ["Part", "Trained", "train"]
