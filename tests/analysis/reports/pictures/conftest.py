"""Tables made by hand, so that every front and every effect is known."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from zerocast.analysis.explore.show.table import Objective, Table

pandas = pytest.importorskip("pandas")
HOSTILE = "</script><script>window.hacked=1</script>&\"'<b>"


def synthetic(name: str = "nm-array", count: int | None = None, clocks: int = 5) -> Table:
    """An N:M array priced by a few closed forms: 3,240 designs, some infeasible, three objectives, a conditional.

    More `clocks` make more designs: 648 each.
    """
    axes: dict[str, list[Any]] = {
        "workload.prune": ["none", "nm:2:4", "nm:2:8"],
        "compute.rows": [8, 16, 32, 64, 96, 128],
        "compute.cols": [16, 32, 64, 128],
        "memories.input_buffer.capacity_bytes": [65536, 262144, 1048576],
        "technology.clock_hz": np.geomspace(1e8, 4e8, clocks).round(-6).tolist(),
        "skipping": [("off", None), ("on", 1), ("on", 4)],
    }
    rows = []
    for number, (prune, high, wide, buffer, clock, (wait, queue)) in enumerate(product(*axes.values())):
        density = {"none": 1.0, "nm:2:4": 0.5, "nm:2:8": 0.25}[prune]
        macs = 4.1e9
        work = macs * density * (1 + 0.02 * (queue or 0))
        peak, link = high * wide * clock, 19.2e9 * (1.0 if high < 64 else 2.0)
        moved = 3e7 * density + 2.5e11 / (buffer**0.5 * min(high, wide))
        fill = 1 + 0.004 * (high + wide)
        latency = max(work * fill / peak, moved / link) + 2e-4
        mac, register = work * 1.1e-12, work * 0.3e-12 * fill
        buffered, dram = work * 4e-12 / min(high, wide) * (buffer / 65536) ** 0.25, moved * 8 * 4e-12
        vector, static = 4e-5, latency * (0.02 + 4e-12 * high * wide * clock / 1e3 + buffer * 2e-8)
        area = 1.2 + high * wide * 0.0021 * (1 + 0.12 * (density < 1)) * (1 + clock / 2e9) + 3 * buffer * 9e-6
        energy = mac + register + buffered + dram + vector + static
        ok = area < 30
        rows.append({
            "number": number, "design": f"{number * 7919 % 2**48:012x}", "workload.prune": prune, "compute.rows": high,
            "compute.cols": wide, "memories.input_buffer.capacity_bytes": buffer, "technology.clock_hz": clock,
            "skipping.wait": wait, "skipping.queue": queue, "latency_s": latency, "energy_j": energy, "macs": macs,
            "effectual_macs": work, "dram_bytes": moved, "mac_j": mac, "register_j": register, "buffer_j": buffered,
            "dram_j": dram, "vector_j": vector, "static_j": static, "edp_js": latency * energy, "area_mm2": area,
            "peak_macs_per_s": peak, "dram_bytes_per_s": link, "throughput_per_s": 1 / latency,
            "throughput_per_w": 1 / energy, "accuracy": {"none": 0.769, "nm:2:4": 0.761, "nm:2:8": 0.741}[prune],
            "lut": float("nan"), "dsp": float("nan"), "status": "ok" if ok else "infeasible",
            "reason": "" if ok else f"breaks area_mm2 < 30 (area_mm2 = {area:g})",
            "command": f"zerocast run resnet50 --prune {prune} --accelerator sat-vcu1525 --set compute.rows={high} "
            f"--set compute.cols={wide} --set memories.input_buffer.capacity_bytes={buffer} "
            f"--set technology.clock_hz={clock!r} --out design",
        })  # fmt: skip
    frame = pandas.DataFrame(rows if count is None else rows[:count])
    parameters = tuple(frame.columns[2:9])
    objectives = (Objective("latency_s", "min"), Objective("energy_j", "min"), Objective("area_mm2", "min"))
    return Table(frame, parameters, objectives, name, "sat-vcu1525", "grid")


def make(columns: dict[str, list[Any]], parameters: tuple[str, ...], *objectives: tuple[str, str]) -> Table:
    """A small table from its columns; what every table has is added."""
    count = len(next(iter(columns.values())))
    standard = {"number": list(range(count)), "design": [f"{i:012x}" for i in range(count)], "status": ["ok"] * count,
                "reason": [""] * count, "command": [f"zerocast run m --set i={i}" for i in range(count)]}  # fmt: skip
    frame = pandas.DataFrame({**standard, **columns})
    return Table(frame, parameters, tuple(Objective(n, d) for n, d in objectives), "small", "machine", "grid")  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def big() -> Table:
    return synthetic()


@pytest.fixture
def small() -> Callable[..., Table]:
    return make


@pytest.fixture(scope="session")
def hostile() -> Table:
    """A name, a choice, a key and reasons that would end a script, were they not escaped."""
    table = synthetic(HOSTILE, 240)
    frame = table.frame.copy()
    frame["workload.prune"] = [HOSTILE if i % 2 else "none" for i in range(len(frame))]
    frame["command"] += f" --set x='{HOSTILE}'"
    frame.loc[frame.index[-1], ["status", "reason"]] = ["error", HOSTILE]
    return replace(table, frame=frame)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)
