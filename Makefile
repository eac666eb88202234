# make demo, make test: from a fresh clone, with Python >= 3.11 and nothing installed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.8
# Where torch comes from. Empty: the index your pip uses. For the CPU build from PyTorch's own server:
#   make test TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)

.PHONY: install test slow lint types demo validate bench clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(if $(TORCH_INDEX),$(BIN)/uv pip install --quiet --python $(BIN)/python --index-url $(TORCH_INDEX) torch==2.13.0)
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable ".[dev]"
	touch $@

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

slow: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m slow

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

# ResNet-18, one training step of 16 images: BDWP 2:8 against dense on the N:M array.
demo: install
	$(BIN)/zerocast run resnet18 --training --batch 16 --prune bdwp:2:8 --accelerator sat-vcu1525 --out demo
	@echo "open demo/report.html in a browser"

validate: install
	$(BIN)/zerocast validate

bench: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/benchmarks --override-ini addopts= --benchmark-columns=min,median,rounds -s

clean:
	rm -rf $(VENV) build dist demo *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
