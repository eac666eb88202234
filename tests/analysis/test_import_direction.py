"""Which room may import which, read off the source; and what the light commands load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("workloads", "accelerators", "simulator", "analysis")
ALLOWED = {
    "workloads": {"workloads"},
    "accelerators": {"accelerators"},
    "simulator": {"simulator", "workloads", "accelerators"},
    "analysis": set(ROOMS),
}
WITHOUT_TORCH = ("accelerators", "simulator")
HEAVY = ("torch", "pandas", "matplotlib", "rich", "jinja2", "networkx")


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports anywhere, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_what_they_may(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    for path in files:
        names = imported(path)
        tops = {name.partition(".")[0] for name in names}
        assert not tops & set(ROOMS), f"{path}: a room is imported as zerocast.ROOM"
        rooms = {name.split(".")[1] for name in names if name.startswith("zerocast.")}
        assert rooms & set(ROOMS) <= ALLOWED[room], path
        if room in WITHOUT_TORCH:
            assert not tops & {"torch", "transformers"}, path


def test_simulator_sees_only_the_ir_and_the_patterns_of_workloads() -> None:
    for path in (ROOT / "simulator").rglob("*.py"):
        inside = {name for name in imported(path) if name.startswith("zerocast.workloads")}
        allowed = (
            "zerocast.workloads.ir",
            "zerocast.workloads.patterns",
            "zerocast.workloads.errors",
            "zerocast.workloads.formats",
        )
        assert all(name.startswith(allowed) for name in inside), (path, inside)


def modules_after(code: str) -> set[str]:
    """Top-level modules loaded by a fresh interpreter that ran `code`."""
    script = f"{code}\nimport sys\nprint('MODULES', *sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    "statement",
    [
        "import zerocast.workloads, zerocast.accelerators, zerocast.simulator, zerocast.analysis",
        "import zerocast.analysis.cli",
    ],
)
def test_importing_is_light(statement: str) -> None:
    assert not modules_after(statement) & set(HEAVY)


@pytest.mark.parametrize("arguments", [["list", "models"], ["list", "recipes"], ["list", "accelerators"]])
def test_listing_loads_nothing_heavy(arguments: list[str]) -> None:
    assert not modules_after(f"from zerocast.analysis.cli import main\nmain({arguments})") & set(HEAVY)


def test_pricing_a_table_loads_nothing_heavy(tmp_path: Path) -> None:
    shapes, out = tmp_path / "shapes.csv", tmp_path / "out.csv"
    shapes.write_text("M,N,K\n16,16,16\n")
    arguments = ["gemm", str(shapes), "--accelerator", "systolic-8x16", "--out", str(out)]
    assert not modules_after(f"from zerocast.analysis.cli import main\nassert main({arguments}) == 0") & set(HEAVY)
    assert len(out.read_text().splitlines()) == 2


def test_a_product_reads_neither_schedules_nor_other_verbs(tmp_path: Path) -> None:
    shapes = tmp_path / "shapes.csv"
    shapes.write_text("M,N,K\n16,16,16\n")
    arguments = ["gemm", str(shapes), "--accelerator", "nvidia-v100-sxm", "--out", str(tmp_path / "out.csv")]
    names = "print([name for name in sys.modules if name.startswith('zerocast.')])"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\nfrom zerocast.analysis.cli import main\nmain({arguments})\n{names}"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "'zerocast.simulator.gpu.predict'" in done.stdout
    for other in ("simulator.program", "simulator.cards.groups", "workloads.training", "analysis.commands.network"):
        assert f"'zerocast.{other}" not in done.stdout


def test_a_saved_workload_runs_without_torch(saved: Path, tmp_path: Path) -> None:
    arguments = ["run", str(saved), "--accelerator", "sat-vcu1525", "--out", str(tmp_path)]
    assert "torch" not in modules_after(f"from zerocast.analysis.cli import main\nassert main({arguments}) == 0")
    assert (tmp_path / "report.html").is_file()
