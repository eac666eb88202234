"""Small spaces on a workload of three products, which takes no PyTorch and some milliseconds a design."""

from collections.abc import Callable
from pathlib import Path

import pytest
from small_space import SPACE

from zerocast.workloads.files.store import save
from zerocast.workloads.ir import Einsum, Tensor, Workload
from zerocast.workloads.patterns import NM


def three_products() -> Workload:
    """Three matrix products in a row, the middle one with 2:8 weights."""
    sizes = [(64, 48, 128), (64, 96, 48), (64, 40, 96)]
    tensors = {"x0": Tensor("x0", (64, 128), "fp16", "input")}
    ops = []
    for place, (m, n, k) in enumerate(sizes):
        tensors[f"w{place}"] = Tensor(f"w{place}", (n, k), "fp16", "weight")
        tensors[f"x{place + 1}"] = Tensor(f"x{place + 1}", (m, n), "fp16", "activation")
        rank = {name: ((name, 1),) for name in "mnk"}
        ops.append(Einsum(
            name=f"op{place}", layer=f"op{place}", phase="FF", inputs=(f"x{place}", f"w{place}"),
            outputs=(f"x{place + 1}",), sizes={"m": m, "n": n, "k": k},
            index=((rank["m"], rank["k"]), (rank["n"], rank["k"]), (rank["m"], rank["n"])),
            patterns={1: NM(2, 8, "k")} if place == 1 else {},
        ))  # fmt: skip
    return Workload("three", tensors, tuple(ops), {}, {"batch": 4, "training": False})


@pytest.fixture(scope="session")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(three_products(), tmp_path_factory.mktemp("net") / "net.npz")


@pytest.fixture
def write_space(net: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes a space file beside the workload: `SPACE`, or the text given, after replacements."""

    def write(*replacements: tuple[str, str], text: str = SPACE) -> Path:
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "space.yaml"
        path.write_text(text.replace("net.npz", str(net)))
        return path

    return write
