"""GPUs with N:M sparse tensor cores: the time of a matrix product from the kernels that a library could choose."""

from simulator.gpu.calibration import Calibrated, Calibration, calibration_of
from simulator.gpu.predict import Prediction, predict
from simulator.gpu.row import gpu_rows
from simulator.gpu.rules import refusal

__all__ = ["Calibrated", "Calibration", "Prediction", "calibration_of", "gpu_rows", "predict", "refusal"]
