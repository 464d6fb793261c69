# Two commands do everything on a fresh machine: `make train` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WHEELHOUSE ?=

# With WHEELHOUSE=<folder>, nothing is fetched from a network: every package comes from that folder.
PIP := $(BIN)/python -m pip install --quiet $(if $(WHEELHOUSE),--no-index --find-links $(WHEELHOUSE),)

.PHONY: help train test ui check bench clean
help:
	@echo "make train   set up .venv and train a chest X-ray classifier on data_samples"
	@echo "make test    set up .venv and run the tests"
	@echo "make ui      the MLflow dashboard of the runs"
	@echo "make check   ruff and mypy"
	@echo "make bench   what is claimed about speed and accuracy, measured again"

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[dev]'
	@touch $@

train: $(VENV)/installed
	$(BIN)/python -m medcnn.train +task=xray_cls

test: $(VENV)/installed
	$(BIN)/python -m pytest

ui: $(VENV)/installed
	$(BIN)/python -m medcnn.ui

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks.run

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
