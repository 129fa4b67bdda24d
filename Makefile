# `make demo` and `make test` are each the only command on a fresh machine: they create .venv and install by themselves.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# litdata is compared with and nothing else: beside .venv's packages, without the torchvision that it asks for.
COMPARED := $(VENV)/compared
# Idle OpenMP threads must sleep, not spin: this must be in the environment before torch is imported.
export OMP_WAIT_POLICY ?= PASSIVE
export PREFECT_SERVER_ANALYTICS_ENABLED ?= false

.PHONY: install demo test test-fast test-slow lint format bench-train bench-paper bench-faults bench-teacher bench-cache bench-recipe bench-averages bench-worth bench-browse bench-orchestration soak deploy serve clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(INSTALLED)
	@$(BIN)/python -m flows.distill --preset quick --root runs/demo

# Three processes on two cores: tests that wait for a server or a worker leave a core to the others.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --durations 25

test: $(INSTALLED)
	$(PYTEST) -m 'not slow'

test-fast: $(INSTALLED)
	$(PYTEST) -m 'not slow and not thorough'

test-slow: $(INSTALLED)
	$(PYTEST) -m slow

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench-train: $(INSTALLED)
	$(BIN)/python -m benchmarks.train

bench-paper: $(INSTALLED)
	$(BIN)/python -m benchmarks.paper_step

bench-faults: $(INSTALLED)
	$(BIN)/python -m benchmarks.paper_faults --write

bench-teacher: $(INSTALLED)
	$(BIN)/python -m benchmarks.teacher

bench-cache: $(COMPARED)/.installed
	PYTHONPATH=$(COMPARED) $(BIN)/python -m benchmarks.cache

$(COMPARED)/.installed: benchmarks/requirements.txt $(INSTALLED)
	rm -rf $(COMPARED)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target $(COMPARED) --requirement $<
	touch $@

bench-recipe: $(INSTALLED)
	$(BIN)/python -m benchmarks.recipe --write

# Which average of the weights: one run, every average of it. STORE is that of `make bench-recipe`, which prints it.
bench-averages: $(INSTALLED)
	$(BIN)/python -m benchmarks.averages --store $(STORE) --write

bench-worth: $(INSTALLED)
	$(BIN)/python -m benchmarks.worth --write

bench-browse: $(INSTALLED)
	$(BIN)/python -m benchmarks.browse --write

bench-orchestration: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.orchestration --write

# KILLS in all; what was killed before is not killed again.
KILLS ?= 20
soak: $(INSTALLED)
	$(BIN)/python -m benchmarks.soak --kills $(KILLS) --write

deploy: $(INSTALLED)
	$(BIN)/python -m flows.deploy

serve: $(INSTALLED)
	@$(BIN)/python -m flows.serve $(SERVE)

clean:
	rm -rf build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
