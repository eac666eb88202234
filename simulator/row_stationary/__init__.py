"""Row-stationary dataflow: the mapping of a layer onto PE sets, its passes, traffic, cycles and energy.

Chen, Krishna, Emer, Sze: Eyeriss, JSSC 2017, tables I and III; Chen, Emer, Sze, ISCA 2016. A PE convolves a row of a
filter with a row of the input; a PE set of R x e PEs makes e rows of the output. A pass works on p t filters and
q r channels: p and q inside each PE, t and r by sets side by side. The global buffer (GLB) keeps the partial sums of
m filters and n samples while the channels go by, pass after pass:

    for n samples, e output rows, m filters:        partial sums stay in the GLB
        for q r channels:                           load input into the GLB, nothing is processed meanwhile
            for p t filters of the m:               a pass; its filters were prefetched
"""

from zerocast.simulator.row_stationary.cost import RowStationaryCost, row_stationary_cost
from zerocast.simulator.row_stationary.cycles import row_cycles
from zerocast.simulator.row_stationary.layer import RowLayer, row_layer
from zerocast.simulator.row_stationary.mapping import RowMapping, trips
from zerocast.simulator.row_stationary.mapspace import SLACK, candidates
from zerocast.simulator.row_stationary.row import row_stationary_row
from zerocast.simulator.row_stationary.traffic import row_traffic

__all__ = [
    "SLACK",
    "RowLayer",
    "RowMapping",
    "RowStationaryCost",
    "candidates",
    "row_cycles",
    "row_layer",
    "row_stationary_cost",
    "row_stationary_row",
    "row_traffic",
    "trips",
]
