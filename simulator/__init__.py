"""What it costs: mapping, compute, traffic, time, energy. No torch in here."""

from simulator.errors import SimulationError
from simulator.gemm import Gemm, plain_gemm
from simulator.gemm_cost import gemm_cost
from simulator.many import simulate_many
from simulator.result import OpRow, Result
from simulator.search import best_mapping
from simulator.simulate import simulate
from simulator.totals import Totals

__all__ = [
    "Gemm", "OpRow", "Result", "SimulationError", "Totals", "best_mapping", "gemm_cost", "plain_gemm", "simulate",
    "simulate_many",
]  # fmt: skip
