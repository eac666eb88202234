"""What it costs: mapping, compute, traffic, time, energy. No torch in here."""

from simulator.errors import SimulationError
from simulator.gemm import Gemm, plain_gemm
from simulator.gemm_cost import best_mapping, gemm_cost
from simulator.result import OpRow, Result
from simulator.simulate import simulate

__all__ = ["Gemm", "OpRow", "Result", "SimulationError", "best_mapping", "gemm_cost", "plain_gemm", "simulate"]
