"""The package as it is installed: its names, what it costs to import, extras that are missing, files of the user's
own that are called like our rooms."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

import zerocast
from zerocast.extras import EXTRAS, MissingExtra, lacking, need

ROOT = Path(__file__).parents[2]


def run(code: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter in another folder, which comes first on its path."""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(1, {str(ROOT)!r})\n{code}", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def without(*packages: str) -> str:
    """Code that makes packages look as if they were not installed."""
    return "".join(f"sys.modules[{name!r}] = None\n" for name in packages)


MAIN = "from zerocast.analysis.cli import main\nsys.exit(main(sys.argv[1:]))"


@pytest.mark.parametrize("name", zerocast.__all__)
def test_every_name_of_the_package_is_there(name: str) -> None:
    assert callable(getattr(zerocast, name)) and name in dir(zerocast)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'forecast'"):
        _ = zerocast.forecast


def test_importing_the_package_loads_no_library(tmp_path: Path) -> None:
    done = run("import zerocast\nprint(*{name.partition('.')[0] for name in sys.modules})", tmp_path)
    assert not set(done.stdout.split()) & {"torch", "numpy", "pandas", "scipy", "pydantic", "typer"}


def test_files_called_like_our_rooms_do_no_harm(tmp_path: Path) -> None:
    for room in ("workloads", "accelerators", "simulator", "analysis"):
        (tmp_path / f"{room}.py").write_text("raise RuntimeError('the study is not ours to run')\n")
    (tmp_path / "shapes.csv").write_text("M,N,K\n16,16,16\n")
    done = run(MAIN, tmp_path, "gemm", "shapes.csv", "--accelerator", "systolic-8x16", "--out", "out.csv")
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 2


def test_the_extras_are_those_of_the_distribution() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for package, extra in EXTRAS.items():
        assert any(line.startswith(package.replace("_", "-")) for line in declared[extra]), package
    assert {f"zerocast[{','.join(dict.fromkeys(EXTRAS.values()))}]"} == set(declared["all"])


@pytest.mark.parametrize("package", EXTRAS)
def test_a_package_that_is_missing_is_named_with_its_remedy(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_spec(package) is not None
    assert lacking(package, "this") == ""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=f"this needs {package}.*pip install 'zerocast\\[{EXTRAS[package]}\\]'$"):
        need(package, "this")


@pytest.mark.parametrize(("package", "arguments"), [
    ("transformers", ["lower", "gpt2", "--out", "gpt2.npz"]),
    ("distributed", ["explore", "space.yaml", "--out", "out", "--dask", "tcp://127.0.0.1:1"]),
])  # fmt: skip
def test_commands_say_what_to_install(package: str, arguments: list[str], saved: Path, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(
        f"name: s\nworkloads: [{{model: {saved}}}]\naccelerator: systolic-8x8\n"
        "parameters: {compute.rows: [4, 8]}\nobjectives: [latency_s, energy_j]\n"
    )
    done = run(without(package) + MAIN, tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(f"pip install 'zerocast[{EXTRAS[package]}]'"), done.stderr


@pytest.mark.slow
def test_an_exploration_without_torch_and_without_extras(saved: Path, tmp_path: Path) -> None:
    """Prices a saved workload, draws the figures, and leaves out what needs a package with one line each."""
    (tmp_path / "space.yaml").write_text(
        f"name: s\nworkloads: [{{model: {saved}}}]\naccelerator: systolic-8x8\n"
        "parameters: {compute.rows: [4, 8]}\nobjectives: [latency_s, energy_j]\n"
    )
    start = without("torch", *EXTRAS) + MAIN
    priced = run(start, tmp_path, "explore", "space.yaml", "--out", "out", "--workers", "1")
    assert priced.returncode == 0, priced.stderr
    drawn = run(start, tmp_path, "plot", "out")
    assert drawn.returncode == 0, drawn.stderr
    assert "left out: interactive page needs plotly" in drawn.stdout
    index = (tmp_path / "out" / "pictures" / "index.html").read_text(encoding="utf-8")
    assert "pip install" in index and "explore.html" not in index
    assert run(start, tmp_path, "export", "out", "--to", "csv").returncode == 0
    refused = run(start, tmp_path, "export", "out", "--to", "parquet")
    assert refused.returncode == 2 and "pip install 'zerocast[parquet]'" in refused.stderr
