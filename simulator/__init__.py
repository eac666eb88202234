"""What it costs: mapping, compute, traffic, time, energy. No torch in here."""

from zerocast.simulator.cost import OpRow, Totals
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.products.gemm import Gemm, plain_gemm
from zerocast.simulator.products.gemm_cost import gemm_cost
from zerocast.simulator.products.search import best_mapping
from zerocast.simulator.result import Result
from zerocast.simulator.simulate import simulate

__all__ = [
    "Gemm", "OpRow", "Result", "SimulationError", "Totals", "best_mapping", "gemm_cost", "plain_gemm", "simulate",
]  # fmt: skip
