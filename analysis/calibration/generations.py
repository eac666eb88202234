"""Fit the shipped GPU calibrations again: `python -m zerocast.analysis.calibration.generations`, about a minute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from zerocast.analysis.calibration.tables import (
    SEED,
    dense_measured,
    dense_table,
    layers_measured,
    paired_measured,
    sparse_rows,
    sparse_table,
)
from zerocast.simulator.gpu.fit.calibration import FORMAT, LEVELS, VERSION, Calibration, calibration_of
from zerocast.simulator.gpu.fit.constants import Constants
from zerocast.simulator.gpu.fit.fitting import GEMM_CONSTANTS, Measured, fit
from zerocast.simulator.gpu.fit.neighbours import log_shapes, spread
from zerocast.simulator.gpu.predict import UNSEEN_BAR
from zerocast.simulator.gpu.problem import Problem
from zerocast.simulator.gpu.streaming import Streaming
from zerocast.simulator.gpu.times import DENSE_KERNELS, SPARSE_KERNELS, Kernels, choose

Array = NDArray[np.float64]
Tables = dict[str, list[Measured]]

COMMAND = "python -m zerocast.analysis.calibration.generations"
SAMPLE = 1500
"""Rows of a large table that a fit sees: more change nothing."""
PAIRED_WEIGHT = 2.0
"""Weight of a row of the small table beside those of a large one (assumption)."""
EVALUATIONS, FOLD_EVALUATIONS = 30, 12
"""Evaluations of a fit, and of those that only set an error bar."""
FEW_SHRINKAGE, MANY_SHRINKAGE = 0.06, 0.02
"""Pull towards the start, where there are about a hundred rows and where there are thousands."""
CARDS_OWN = ("dram", "write")
"""What belongs to the card's memory, whichever kernel reads and writes it: products that it bounds gain by 2:4 what
their weights are of their bytes."""
SPARSE_CONSTANTS = tuple(
    name for name in GEMM_CONSTANTS if not name.startswith(("split", "warm")) and name not in CARDS_OWN
)
"""What repeated products with K whole can tell; the rest is the dense class's."""
WORKSTATIONS = {"ampere-ga102": ["A6000", "RTX3090"], "ada": ["RTX4090"], "blackwell-gb202": ["RTXPRO6000"]}
"""Cards by the calibration of their generation, of which layers of language models were measured."""
LAYERS_SHRINKAGE = 0.2
"""Pull towards the start of a few hundred rows of another kind of measurement, one kernel at a time."""
SUSTAINED = 0.01
"""Slowing of long products where none was measured: whole networks on workstation cards show next to none."""
_ADA = Streaming(share=0.95, floor_s=1.1e-6, hits=11.0, kept=0.36, backward=0.25)
STREAMING = {
    "ampere": replace(_ADA, share=0.77), "ampere-a100-sxm": replace(_ADA, share=0.77),
    "hopper": replace(_ADA, share=0.78), "hopper-h100-sxm": replace(_ADA, share=0.78),
    "generic": replace(_ADA, share=0.88), "ampere-ga102": replace(_ADA, share=0.92), "ada": _ADA,
    "blackwell-gb202": replace(_ADA, share=0.88, floor_s=1.5e-6, kept=0.5),
}  # fmt: skip
"""Constants of kernels that only stream, by calibration. Those of Ada and GB202: activations, normalisations and rotary
embeddings of language models on an RTX 4090 and an RTX PRO 6000 (github.com/casys-kaist/LLMServingSim @5daddb21a5,
MIT), mean error 13 %. Shares of A100 and H100: division, masks and softmax in fp32, timed one by one over 0.13 and
0.54 GB (github.com/sitar-lab/NeuSight @6945927d9a, MIT), 0.76 to 0.79 and 0.74 to 0.85; of the others: public stream
benchmarks (recalled). Floor and L2 of all but these as on Ada (assumption). `backward`: training steps of MobileNets on
an RTX 3090 (gpu_networks.csv), taken for all."""
QUANTISING = tuple(name for name in Constants.names() if name.startswith("quantise"))
NARROW = ("mma", "tile_loss", "step_s", "feed", "l2", "sustained", "power")
"""What operands of 8 bits may change: how fast tiles compute and are fed, and what power allows. The launch, the
off-chip memory, what the L2 keeps, splits of K and the overlap are the 16-bit class's, as they belong to the card and
its library, and warm products of one table could not tell them apart."""

AMPERE_SXM, AMPERE_PCIE = ["A100-SXM-80GB"], "A100 80GB PCIe"
HOPPER_SXM, HOPPER_PCIE = ["H100-SXM", "H200-SXM"], "H100 80GB PCIe"


@dataclass(frozen=True, slots=True)
class Fitted:
    """Constants of a class, the error bar, and what they were fitted on."""

    constants: Constants
    tables: list[Measured]
    low: float
    high: float
    words: str


def log_errors(table: Measured, constants: Constants, sparse: bool = False) -> Array:
    """log(measured / predicted) of measured products."""
    kernels = SPARSE_KERNELS if sparse else DENSE_KERNELS
    return np.log(table.seconds / choose(table.problem, constants, kernels).seconds)


def bar_of(errors: Array) -> tuple[float, float]:
    """Bounds that hold 9 of 10 log errors."""
    low, high = np.quantile(errors, [0.05, 0.95])
    return float(low), float(high)


def dense_rows(cards: list[str], dtype: str, part: str) -> pd.DataFrame:
    """Rows of the large tables; those to be fitted are sampled."""
    table = dense_table(dtype)
    rows = table[table.gpu.isin(cards) & (table.part == part)]
    return rows.sample(min(SAMPLE, len(rows)), random_state=SEED) if part == "fit" else rows


def fit_large(cards: list[str], dtype: str, paired: list[tuple[str, str]], start: Constants) -> Fitted:
    """Dense constants from large tables, with the training networks of the small one beside them.

    paired: card and type of rows of the small table. start: where the fit starts; for fp8 the 16-bit constants, to
    which it is tied. The error bar comes from pairs (N, K) kept for it.
    """
    small = [paired_measured(_training(card, name), name, False, PAIRED_WEIGHT) for card, name in paired]
    tables = [dense_measured(dense_rows(cards, dtype, "fit"), dtype), *small]
    names, bounds = (NARROW + QUANTISING, start.no_slower()) if dtype == "fp8" else (GEMM_CONSTANTS, None)
    constants = fit(tables, start, DENSE_KERNELS, names=names, shrinkage=MANY_SHRINKAGE, bounds=bounds)
    low, high = bar_of(log_errors(dense_measured(dense_rows(cards, dtype, "bars"), dtype), constants))
    beside = "".join(f", {card} {name} (2:4 table, dense)" for card, name in paired)
    return Fitted(constants, tables, low, high, f"{', '.join(cards)} {dtype}{beside}; part `fit`, seed {SEED}")


def sparse_start(dense: Constants) -> Constants:
    """Where the fit of 2:4 kernels starts: at the dense constants, but another library lays out tiles its own way."""
    fresh = Constants()
    return replace(dense, band=fresh.band, l2=fresh.l2, hits=fresh.hits)


def fit_narrow(paired: list[tuple[str, str]], sixteen: Constants) -> Fitted:
    """Dense constants of 8-bit products from the small table, tied to the 16-bit class of the generation."""

    def fitted(tables: Tables, evaluations: int) -> dict[str, Constants]:
        (products,) = tables.values()
        return {"": _narrowed(products, sixteen, NARROW, DENSE_KERNELS, evaluations)}

    return _small({"": paired}, False, fitted)[""]


def fit_sparse(paired: dict[str, list[tuple[str, str]]], dense: Constants) -> dict[str, Fitted]:
    """Constants of the 2:4 classes, by class; the 16-bit one first.

    All types of a table together say where their common constants lie; from there the 16-bit class goes its own way,
    and the others as far as no product gets slower than in 16 bits.
    """
    start, few = sparse_start(dense), FEW_SHRINKAGE

    def fitted(tables: Tables, evaluations: int) -> dict[str, Constants]:
        sixteen, *narrow = tables
        every = [table for some in tables.values() for table in some]
        common = fit(every, start, SPARSE_KERNELS, names=SPARSE_CONSTANTS, shrinkage=few, evaluations=evaluations)
        own = fit(
            tables[sixteen], common, SPARSE_KERNELS, names=SPARSE_CONSTANTS, shrinkage=few, evaluations=evaluations
        )  # fmt: skip
        names = tuple(name for name in SPARSE_CONSTANTS if name in own.no_slower())
        rest = {kind: _narrowed(tables[kind], own, names, SPARSE_KERNELS, evaluations) for kind in narrow}
        return {sixteen: own, **rest}

    return _small(paired, True, fitted)


def _narrowed(
    tables: list[Measured], sixteen: Constants, names: tuple[str, ...], kernels: Kernels, evaluations: int
) -> Constants:
    """Constants for 8 bits under which no product is slower than in 16 bits."""
    bounds = sixteen.no_slower()
    return fit(
        tables, sixteen, kernels, names=names, shrinkage=FEW_SHRINKAGE, evaluations=evaluations, bounds=bounds
    )  # fmt: skip


def _small(
    paired: dict[str, list[tuple[str, str]]], sparse: bool, fitted: Callable[[Tables, int], dict[str, Constants]]
) -> dict[str, Fitted]:
    """Classes from the small table; the error bars from leaving one training network out in turn.

    paired: card and type of the rows of each class. fitted: constants of all classes from their tables.
    """

    def tables_of(keep: Callable[[pd.DataFrame], pd.Series]) -> Tables:
        return {
            kind: [
                paired_measured(rows[keep(rows)], name, sparse)
                for rows, name in ((_training(card, name), name) for card, name in some) if keep(rows).any()
            ]
            for kind, some in paired.items()
        }  # fmt: skip

    errors: dict[str, list[Array]] = {kind: [] for kind in paired}
    table = sparse_table()
    for left_out in table[table.part == "fit"].shape_set.unique():
        rest = fitted(tables_of(lambda rows, name=left_out: rows.shape_set != name), FOLD_EVALUATIONS)  # type: ignore[misc]
        for kind, some in tables_of(lambda rows, name=left_out: rows.shape_set == name).items():  # type: ignore[misc]
            errors[kind] += [log_errors(products, rest[kind], sparse) for products in some]
    tables = tables_of(lambda rows: rows.part == "fit")
    constants = fitted(tables, EVALUATIONS)
    made = {}
    for kind, pairs in paired.items():
        named = ", ".join(f"{card} {name}" for card, name in pairs)
        words = f"{named} (2:4 table, {'2:4' if sparse else 'dense'}), networks of part `fit`, seed {SEED}"
        made[kind] = Fitted(constants[kind], tables[kind], *bar_of(np.concatenate(errors[kind])), words)
    return made


def _training(card: str, dtype: str) -> pd.DataFrame:
    rows = sparse_rows(card, dtype)
    return rows[rows.part == "fit"]


def ampere() -> dict[str, Fitted]:
    """Classes of the A100."""
    sixteen, int8 = [(AMPERE_PCIE, "bf16"), (AMPERE_PCIE, "fp16")], [(AMPERE_PCIE, "int8")]
    dense = fit_large(AMPERE_SXM, "bf16", sixteen, Constants())
    return {
        "dense_16bit": dense,
        "dense_int8": fit_narrow(int8, dense.constants),
        **fit_sparse({"sparse_16bit": sixteen, "sparse_int8": int8}, dense.constants),
    }


def hopper() -> dict[str, Fitted]:
    """Classes of H100 and H200."""
    return _with_fp8(HOPPER_SXM, [(HOPPER_PCIE, "bf16")], [(HOPPER_PCIE, "int8")])


def _with_fp8(cards: list[str], sixteen: list[tuple[str, str]], int8: list[tuple[str, str]]) -> dict[str, Fitted]:
    """All classes of cards with fp8, which Hopper alone has in the tables."""
    fp8 = [(HOPPER_PCIE, "fp8")]
    dense = fit_large(cards, "bf16", sixteen, Constants())
    return {
        "dense_16bit": dense,
        "dense_fp8": fit_large(HOPPER_SXM, "fp8", fp8, dense.constants),
        "dense_int8": fit_narrow(int8, dense.constants),
        **fit_sparse({"sparse_16bit": sixteen, "sparse_fp8": fp8, "sparse_int8": int8}, dense.constants),
    }


def one_card(card: str, types: tuple[str, ...]) -> dict[str, Fitted]:
    """Dense classes of one SXM card alone, from which the transfer to others is judged."""
    dense = fit_large([card], "bf16", [], Constants())
    rest = {f"dense_{name}": fit_large([card], name, [], dense.constants) for name in types}
    return {"dense_16bit": dense, **rest}


def generic() -> dict[str, Fitted]:
    """Classes over both generations, for cards of a third; their error bar is not from these data."""
    sixteen = [(AMPERE_PCIE, "bf16"), (HOPPER_PCIE, "bf16")]
    return _with_fp8([*AMPERE_SXM, *HOPPER_SXM], sixteen, [(AMPERE_PCIE, "int8"), (HOPPER_PCIE, "int8")])


def layers(cards: list[str], start: Constants) -> dict[str, Fitted]:
    """The dense 16-bit class of cards of which layers of language models alone were measured; the networks or kinds of
    layers of part `held` set its error bar. Starts from the constants of a generation that was measured well."""
    tables = [layers_measured(card, "fit") for card in cards]
    start = replace(start, sustained=SUSTAINED)
    constants = fit(tables, start, DENSE_KERNELS, shrinkage=LAYERS_SHRINKAGE, evaluations=EVALUATIONS)
    errors = np.concatenate([log_errors(layers_measured(card, "held"), constants) for card in cards])
    low, high = bar_of(errors)
    return {"dense_16bit": Fitted(constants, tables, low, high, f"{', '.join(cards)} bf16, layers of language models")}


def transferred(dense: Constants, base: Calibration) -> dict[str, dict[str, Any]]:
    """Classes that were not measured on a card, as they are written to a file: those of `base`, with what belongs to
    the card's memory, and no narrower class slower than the 16-bit one."""
    found: dict[str, dict[str, Any]] = {}
    for kind, known in base.classes.items():
        if kind in ("dense_16bit", "dense_fp32"):
            continue
        if kind.startswith("sparse"):
            constants = replace(known.constants, **{name: getattr(dense, name) for name in CARDS_OWN})
            wide = found.get("sparse_16bit")
            bounds = Constants(**wide["constants"]).no_slower() if wide else {}
        else:
            constants = replace(dense, **{name: getattr(known.constants, name) for name in (*NARROW, *QUANTISING)})
            bounds = dense.no_slower()
        tied = {name: float(np.clip(getattr(constants, name), *limits)) for name, limits in bounds.items()}
        found[kind] = {
            "level": LEVELS[0], "fitted_on": f"other generations: {known.fitted_on}", "rows": 0, "command": COMMAND,
            "constants": replace(constants, **tied).rounded(), "error": {"low": -UNSEEN_BAR, "high": UNSEEN_BAR},
            "shapes": known.shapes.astype(int).tolist(),
        }  # fmt: skip
    return found


def class_entry(fitted: Fitted, level: str, command: str) -> dict[str, Any]:
    """A class as it is written to a file, with shapes that stand for those fitted."""
    low, high = (-UNSEEN_BAR, UNSEEN_BAR) if level == LEVELS[0] else (fitted.low, fitted.high)
    shapes = np.concatenate([_shapes(table.problem) for table in fitted.tables])
    stand = shapes[spread(log_shapes(*shapes.T))]
    return {
        "level": level, "fitted_on": fitted.words, "rows": len(shapes), "command": command,
        "constants": fitted.constants.rounded(),
        "error": {"low": float(f"{low:.4g}"), "high": float(f"{high:.4g}")},
        "shapes": stand.astype(int).tolist(),
    }  # fmt: skip


def _shapes(problem: Problem) -> Array:
    return np.concatenate([problem.m, problem.n, problem.k], axis=1)


def write(path: Path, name: str, classes: dict[str, dict[str, Any]], base: str = "") -> None:
    """Write a calibration file; with constants of streaming kernels where the generation has its own."""
    content = {"format": FORMAT, "version": VERSION, "name": name, **({"base": base} if base else {})}
    if name in STREAMING:
        content["streaming"] = asdict(STREAMING[name])
    text = yaml.safe_dump({**content, "classes": classes}, sort_keys=False, width=118, default_flow_style=None)
    head = "# Constants of GPU kernel times. Fitted together and not identifiable one by one: no hardware facts.\n"
    path.write_text(head + text, encoding="utf-8")


def main() -> None:
    """Fit and write all shipped calibrations."""
    folder = Path(__file__).parents[2] / "accelerators" / "calibrations"
    jobs: dict[str, tuple[Callable[[], dict[str, Fitted]], str]] = {
        "ampere": (ampere, LEVELS[1]),
        "hopper": (hopper, LEVELS[1]),
        "ampere-a100-sxm": (lambda: one_card("A100-SXM-80GB", ()), LEVELS[1]),
        "hopper-h100-sxm": (lambda: one_card("H100-SXM", ("fp8",)), LEVELS[1]),
        "generic": (generic, LEVELS[0]),
    }
    for name, (make, level) in jobs.items():
        write(folder / f"{name}.yaml", name, {kind: class_entry(one, level, COMMAND) for kind, one in make().items()})
        print(f"written: {folder / name}.yaml")
    start = calibration_of("hopper").of("dense_16bit").constants
    for name, cards in WORKSTATIONS.items():
        fitted = layers(cards, start)
        classes = {kind: class_entry(one, LEVELS[1], COMMAND) for kind, one in fitted.items()}
        classes |= transferred(fitted["dense_16bit"].constants, calibration_of("generic"))
        write(folder / f"{name}.yaml", name, classes)
        print(f"written: {folder / name}.yaml")


if __name__ == "__main__":
    main()
