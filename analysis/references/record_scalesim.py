"""Record what SCALE-Sim 3 answers for dense GEMMs on a systolic array, one CSV row per run.

Usage: ``python analysis/references/record_scalesim.py --out analysis/references/scalesim3.csv``

Needs scalesim==3.0.0 (the extra ``peers``) with numpy older than 2.4, so usually an environment of its
own: ``pip install scalesim==3.0.0 "numpy<2.4"``. Rows are appended as they come and rows already in the
file are skipped, so a run that was cut off continues where it stopped. The column ``command`` records
its row alone, into a new file. Convention: out[M, N] = A[M, K] B[K, N]; A is SCALE-Sim's ifmap, B its
filter.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

ARRAYS = ((32, 32), (8, 16))
DATAFLOWS = ("os", "ws", "is")
# ResNet-18 at 224 px, last stage: the two 3x3 convolutions' shapes and the 1x1 shortcut.
RESNET18_LAST_STAGE = ((49, 512, 256), (49, 512, 2304), (49, 512, 4608))
RANDOM_SEED, RANDOM_COUNT, RANDOM_MAX = 2, 20, 200
FIELDS = (
    "tool", "version", "M", "N", "K", "rows", "cols", "dataflow",
    "total_cycles", "stall_cycles", "overall_util", "command",
)  # fmt: skip

# CALC lets SCALE-Sim work out the bandwidth a run needs instead of stalling it. Each buffer is so
# large that one hundredth of it (SCALE-Sim's prefetch set) holds the largest operand here.
CONFIG = """\
[general]
run_name = run
[architecture_presets]
ArrayHeight = {rows}
ArrayWidth = {cols}
IfmapSramSzkB = 262144
FilterSramSzkB = 262144
OfmapSramSzkB = 262144
IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
Dataflow = {dataflow}
ReadRequestBuffer = 64
WriteRequestBuffer = 64
[layout]
IfmapCustomLayout = False
FilterCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = False
[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
"""


@dataclass(frozen=True, slots=True)
class Case:
    """One run: out[m, n] = A[m, k] B[k, n] on a rows x cols array, dataflow os, ws or is."""

    m: int
    n: int
    k: int
    rows: int
    cols: int
    dataflow: str

    def key(self) -> tuple[str, ...]:
        """The case as the six CSV columns that identify it."""
        return tuple(str(x) for x in (self.m, self.n, self.k, self.rows, self.cols, self.dataflow))

    def command(self) -> str:
        """The command that repeats this one row."""
        return (
            "python analysis/references/record_scalesim.py --out row.csv "
            f"--gemm {self.m}x{self.n}x{self.k} --array {self.rows}x{self.cols} --dataflow {self.dataflow}"
        )


def gemms() -> list[tuple[int, int, int]]:
    """The (M, N, K) to record: 20 seeded random ones up to 200 a side, then ResNet-18's last stage."""
    drawn = np.random.default_rng(RANDOM_SEED).integers(1, RANDOM_MAX + 1, size=(RANDOM_COUNT, 3))
    return [(int(m), int(n), int(k)) for m, n, k in drawn] + list(RESNET18_LAST_STAGE)


def cases(shapes: list[tuple[int, int, int]], arrays: list[tuple[int, int]], dataflows: list[str]) -> Iterator[Case]:
    """Every combination, in the order of `shapes` (small ones first, so rows arrive early)."""
    for m, n, k in shapes:
        for rows, cols in arrays:
            for dataflow in dataflows:
                yield Case(m, n, k, rows, cols, dataflow)


def simulate(case: Case) -> tuple[int, int, float]:
    """Run SCALE-Sim on `case`: (compute cycles, stall cycles, overall utilisation in percent)."""
    from scalesim.scale_sim import scalesim

    with tempfile.TemporaryDirectory() as folder:
        config, topology, layout = (Path(folder, name) for name in ("run.cfg", "gemm.csv", "layout.csv"))
        config.write_text(CONFIG.format(rows=case.rows, cols=case.cols, dataflow=case.dataflow))
        topology.write_text(f"Layer,M,N,K,\ngemm,{case.m},{case.n},{case.k},\n")
        # SCALE-Sim always reads a layout file; with both custom layouts off no row of it is used.
        layout.write_text("Layer name,\n")
        run = scalesim(
            save_disk_space=True,
            verbose=False,
            config=str(config),
            topology=str(topology),
            layout=str(layout),
            input_type_gemm=True,
        )
        run.run_scale(top_path=folder)
        with Path(folder, "run", "COMPUTE_REPORT.csv").open(newline="") as stream:
            report = next(csv.DictReader(stream, skipinitialspace=True))
    return int(report["Total Cycles"]), int(report["Stall Cycles"]), float(report["Overall Util %"])


def recorded(out: Path) -> set[tuple[str, ...]]:
    """The keys (see `Case.key`) of the rows already in `out`; empty when there is no such file."""
    if not out.exists():
        return set()
    with out.open(newline="") as stream:
        return {tuple(row[name] for name in FIELDS[2:8]) for row in csv.DictReader(stream)}


def record(out: Path, wanted: Iterator[Case], tool_version: str) -> None:
    """Append one row to `out` for every wanted case it lacks."""
    done = recorded(out)
    if not out.exists():
        out.write_text(",".join(FIELDS) + "\n")
    for case in wanted:
        if case.key() in done:
            continue
        cycles, stalls, util = simulate(case)
        with out.open("a", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerow(
                ["SCALE-Sim", tool_version, *case.key(), cycles, stalls, f"{util:.6f}", case.command()]
            )


def dims(text: str) -> tuple[int, ...]:
    """'49x512x256' -> (49, 512, 256)."""
    return tuple(int(part) for part in text.split("x"))


def main() -> None:
    """Parse the command line and record."""
    parser = argparse.ArgumentParser(description="record SCALE-Sim 3's cycles for dense GEMMs")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("scalesim3.csv"))
    parser.add_argument("--gemm", type=dims, metavar="MxNxK", help="this GEMM alone")
    parser.add_argument("--array", type=dims, metavar="RxC", help="this array alone")
    parser.add_argument("--dataflow", choices=DATAFLOWS, help="this dataflow alone")
    args = parser.parse_args()
    try:
        tool_version = version("scalesim")
    except PackageNotFoundError:
        sys.exit('scalesim is not installed: pip install scalesim==3.0.0 "numpy<2.4"')
    if np.lib.NumpyVersion(np.__version__) >= "2.4.0":
        # It calls int() on one-element arrays, which numpy 2.4 turned from a warning into an error.
        sys.exit(f'scalesim 3.0.0 fails with numpy {np.__version__}: pip install "numpy<2.4"')
    shapes = [args.gemm] if args.gemm else gemms()
    arrays = [args.array] if args.array else list(ARRAYS)
    dataflows = [args.dataflow] if args.dataflow else list(DATAFLOWS)
    record(args.out, cases(shapes, arrays, dataflows), tool_version)


if __name__ == "__main__":
    main()
