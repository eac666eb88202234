"""GPUs with N:M sparse tensor cores: the time of a matrix product from the kernels that a library could choose."""

from zerocast.simulator.gpu.fit.calibration import Calibrated, Calibration, calibration_of
from zerocast.simulator.gpu.predict import Prediction, predict
from zerocast.simulator.gpu.row import gpu_rows
from zerocast.simulator.gpu.rules import refusal

__all__ = ["Calibrated", "Calibration", "Prediction", "calibration_of", "gpu_rows", "predict", "refusal"]
