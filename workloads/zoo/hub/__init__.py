"""Networks of transformers by the name that they have on the hub, or from a folder with their configuration."""

from zerocast.workloads.zoo.hub.build import from_hub
from zerocast.workloads.zoo.hub.configurations import is_hub_name, known, weights_beside
from zerocast.workloads.zoo.hub.quantisation import quantised_type

__all__ = ["from_hub", "is_hub_name", "known", "quantised_type", "weights_beside"]
