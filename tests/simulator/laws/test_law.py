"""What tells dataflows apart is in their laws alone."""

import ast
from pathlib import Path
from typing import get_args

import pytest

from zerocast.accelerators import load
from zerocast.accelerators.schema import Dataflow
from zerocast.simulator import SimulationError, plain_gemm
from zerocast.simulator.laws import LAWS, law_of
from zerocast.simulator.products.mapping import mapping_of

SIMULATOR = Path(__file__).parents[3] / "simulator"
NAMES = set(get_args(Dataflow))


def names_in(tree: ast.AST) -> set[str]:
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and node.value in NAMES}


@pytest.mark.parametrize("folder", ["simulator", "analysis/reports", "analysis/commands", "analysis/explore"])
def test_no_dataflow_is_asked_for_by_name_outside_of_laws(folder: str) -> None:
    files = [path for path in (SIMULATOR.parent / folder).rglob("*.py") if SIMULATOR / "laws" not in path.parents]
    assert files
    for path in files:
        asked = [
            node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Compare | ast.MatchValue | ast.Subscript | ast.Dict) and names_in(node)
        ]  # fmt: skip
        assert not asked, f"{path}:{asked[0].lineno} asks for {names_in(asked[0])}; let its law answer"


def test_every_dataflow_with_tiles_has_a_law() -> None:
    assert set(LAWS) == NAMES - {"row_stationary", "tensor_core"}
    for name in ("row_stationary", "tensor_core"):
        with pytest.raises(SimulationError, match=f"{name} has no tiled mappings"):
            law_of(name)  # type: ignore[arg-type]


def test_what_passes_the_ports_of_each_law() -> None:
    """A product of 64 x 64 x 96 on a 32 x 32 array in tiles of 64 x 32 x 48: 2 x 2 folds of sums, and 3 folds deep."""
    array = load(
        "systolic-32x32", {"compute.dataflows": ["output_stationary", "weight_stationary", "input_stationary"]}
    )
    gemm = plain_gemm(64, 64, 96, "fp16", 16)
    for name, expected in {
        "output_stationary": (2, 2, 1, 2),  # two tiles along K: sums come back once
        "weight_stationary": (2, 1, 3, 4),  # a tile along M; two folds deep in each of two tiles along K
        "input_stationary": (2, 2, 3, 4),  # what streams, of two tiles along N, is what inputs are read again for
    }.items():
        law, mapping = LAWS[name], mapping_of(gemm, name, "mnk", 64, 32, 48)  # type: ignore[index, arg-type]
        times = law.port_times(gemm, array, mapping, mapping.k, mapping.k, mapping.k < 0)
        found = (times.input, times.weight, times.sum_read, times.sum_write)
        assert tuple(map(float, found)) == expected, name
