"""Fit the class dense_fp32 of the shipped calibrations, products on CUDA cores, and what the tensor cores of Volta and
Turing have: `python -m zerocast.analysis.calibration.cuda_cores`, after `generations`.

Rows: DeepBench's products on four cards, each run again and again on the same operands, and single operators of
language models on four more (NeuSight); whose weights have W of the same (N, K) are held out and set the error bars.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from zerocast.accelerators import load
from zerocast.analysis.calibration.generations import Fitted, class_entry, transferred
from zerocast.analysis.calibration.tables import part_of_pair
from zerocast.simulator.gpu.card import card_of
from zerocast.simulator.gpu.fit.calibration import FORMAT, LEVELS, VERSION, calibration_of
from zerocast.simulator.gpu.fit.constants import Constants
from zerocast.simulator.gpu.fit.fitting import GEMM_CONSTANTS, Measured, fit
from zerocast.simulator.gpu.problem import problem
from zerocast.simulator.gpu.times import choose, kernels_of

COMMAND = "python -m zerocast.analysis.calibration.cuda_cores"
CARDS = {
    "P100": "nvidia-p100-pcie", "TitanXp": "nvidia-titan-xp", "V100": "nvidia-v100-sxm", "T4": "nvidia-t4",
    "A100 80GB PCIe": "nvidia-a100-pcie-80g", "H100 80GB HBM3": "nvidia-h100-sxm", "L4": "nvidia-l4",
}  # fmt: skip
"""Templates by the names in the tables."""
WIDTH = {"fp32": 4, "fp16": 2}
OWN = {"pascal": ["P100", "TitanXp"], "volta": ["V100"], "turing": ["T4"]}
"""Cards of generations whose every class but these is that of other generations."""
MODERN = {"ampere": ["A100 80GB PCIe"], "hopper": ["H100 80GB HBM3"]}
"""Cards with a dozen measured products each."""
UNSEEN = ("generic", "ampere-ga102", "ada", "blackwell-gb202")
FEW_SHRINKAGE, MANY_SHRINKAGE = 0.05, 0.05
WAVE = 1.5
"""Where the fit of waves starts on cards since Ampere: whole ones, as of the A100's tensor-core kernels."""
EVALUATIONS = 40
START = Constants(
    floor_s=5e-6, power=0.42, feed=1.0, l2=0.5, hits=0.3, epilogue=0.3, split_s=3e-6, wave=0.5
)  # fmt: skip
"""Where the fit of fp32 products starts: an SM feeds each lane by about a byte a cycle (assumption). power: on a T4
long products draw 60 W at 2.07e12 multiply-adds a second; the limit of no other card that is fitted binds."""
NAMES = tuple(name for name in GEMM_CONSTANTS if name != "power")
FEW_NAMES = ("mma", "tile_loss", "wave", "overlap", "sustained", "prologue_s", "epilogue")
"""Those that a dozen products of a card can tell."""


def table(dtype: str) -> pd.DataFrame:
    """Measured products: gpu, batch, M, N, K, layout of the operands, us, whether operands repeat, source and part."""
    rows = pd.read_csv(files("zerocast.analysis") / "references" / "gpu" / f"gpu_dense_{dtype}.csv")  # type: ignore[call-overload]
    return rows.assign(part=[part_of_pair(n, k) for n, k in zip(rows.N, rows.K, strict=True)])


def measured(rows: pd.DataFrame, dtype: str) -> list[Measured]:
    """Rows by card, ready to be fitted or judged."""
    found = []
    for (name, repeats), some in rows.groupby(["gpu", "repeats"], sort=False):
        width = WIDTH[dtype]
        products = problem(
            card_of(load(CARDS[str(name)]), dtype), some.M, some.N, some.K, batch=some.batch, element_bytes=width,
            out_element_bytes=width, repeats=bool(repeats),
        )  # fmt: skip
        found.append(Measured(products, some.us.to_numpy() * 1e-6))
    return found


def fitted(cards: list[str], dtype: str, start: Constants, names: tuple[str, ...], shrinkage: float) -> Fitted:
    """Constants of one class from the products of some cards, its error bar from those that were left out."""
    kernels = kernels_of("dense_fp32" if dtype == "fp32" else "dense_16bit")
    rows = table(dtype)
    rows = rows[rows.gpu.isin(cards)]
    tables = measured(rows[rows.part != "held"], dtype)
    constants = fit(tables, start, kernels, names=names, shrinkage=shrinkage, evaluations=EVALUATIONS)
    errors = [np.log(one.seconds / choose(one.problem, constants, kernels).seconds)
              for one in measured(rows[rows.part == "held"], dtype)]  # fmt: skip
    bar = float(np.quantile(np.abs(np.concatenate(errors)), 0.9))
    return Fitted(constants, tables, -bar, bar, f"{', '.join(cards)} {dtype}; all parts but `held`, seed 0")


def main() -> None:
    """Fit all, write the calibrations of three generations, and add a class to those of the others."""
    folder = Path(__file__).parents[2] / "accelerators" / "calibrations"
    sixteen = replace(calibration_of("generic").of("dense_16bit").constants, power=1.0)
    own = {name: fitted(cards, "fp32", START, NAMES, MANY_SHRINKAGE) for name, cards in OWN.items()}
    for name, cards in OWN.items():
        classes = {"dense_fp32": class_entry(own[name], LEVELS[1], COMMAND)}
        if name != "pascal":
            dense = fitted(cards, "fp16", sixteen, NAMES, MANY_SHRINKAGE)
            classes["dense_16bit"] = class_entry(dense, LEVELS[1], COMMAND)
            classes |= transferred(dense.constants, calibration_of("generic"))
        text = yaml.safe_dump({"format": FORMAT, "version": VERSION, "name": name, "base": "generic"}, sort_keys=False)
        (folder / f"{name}.yaml").write_text(HEAD + text + "classes:\n", encoding="utf-8")
        for kind, entry in classes.items():
            add(folder / f"{name}.yaml", kind, entry)
    start = replace(own["volta"].constants, floor_s=sixteen.floor_s, wave=WAVE, power=1.0)
    every = fitted([card for cards in MODERN.values() for card in cards], "fp32", start, FEW_NAMES, FEW_SHRINKAGE)
    for name, cards in MODERN.items():
        one = fitted(cards, "fp32", every.constants, FEW_NAMES, FEW_SHRINKAGE)
        add(folder / f"{name}.yaml", "dense_fp32", class_entry(one, LEVELS[1], COMMAND))
    for name in UNSEEN:
        add(folder / f"{name}.yaml", "dense_fp32", class_entry(every, LEVELS[0], COMMAND))


HEAD = "# Constants of GPU kernel times. Fitted together and not identifiable one by one: no hardware facts.\n"


def add(path: Path, kind: str, entry: dict[str, object]) -> None:
    """Put a class at the end of a calibration file, in place of what it had under that name."""
    lines = path.read_text(encoding="utf-8").splitlines()
    kept, inside = [], False
    for line in lines:
        inside = line == f"  {kind}:" if line.startswith("  ") and not line.startswith("   ") else inside
        if not inside:
            kept.append(line)
    text = yaml.safe_dump({kind: entry}, sort_keys=False, width=116, default_flow_style=None)
    kept += [f"  {line}" for line in text.splitlines()]
    path.write_text("\n".join(kept) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
