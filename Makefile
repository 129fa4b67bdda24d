# `make demo` and `make test` are each the only command on a fresh machine: they create .venv and install by themselves.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Stamps of what is installed. A command needs the runtime; a tool needs what development adds to it.
RUNTIME := $(VENV)/.runtime $(VENV)/.project
DEV := $(RUNTIME) $(VENV)/.dev
# litdata is compared with and nothing else: beside .venv's packages, without the torchvision that it asks for.
COMPARED := $(VENV)/compared
# Likewise what only servers of slow tests import.
SERVICES := $(VENV)/services
# Idle OpenMP threads must sleep, not spin: this must be in the environment before torch is imported.
export OMP_WAIT_POLICY ?= PASSIVE
export PREFECT_SERVER_ANALYTICS_ENABLED ?= false

# pip does not compile what it installs: each module is compiled once, when it is first imported.
unexport PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: install lock demo test test-fast test-slow test-all test-sweep test-node test-mobile lint format mutants bench-solvers bench-train bench-paper bench-faults bench-teacher bench-cache bench-recipe bench-averages bench-worth bench-peers bench-features bench-throughput bench-full-size bench-paper-setting bench-evaluation bench-memory bench-heaps bench-device bench-browse bench-orchestration bench-environments bench-operated soak deploy serve clean

install: $(RUNTIME)

PIP := $(BIN)/python -m pip install -qq --no-compile
# uv installs the same files in less time. torch and the project are left to pip, which knows the builds of torch on this machine.
UV := $(shell command -v uv)
LOCKED := $(if $(UV),$(UV) pip install -q --python $(BIN)/python,$(PIP)) --no-deps --requirement

# The pip that Python 3.11 brings takes 2.5 times the CPU time.
$(VENV)/.pip:
	$(PYTHON) -m venv $(VENV)
	$(PIP) pip==26.3
	touch $@

$(VENV)/.runtime: requirements/runtime.txt requirements/torch.txt | $(VENV)/.pip
	$(LOCKED) requirements/runtime.txt
	$(PIP) --requirement requirements/torch.txt
	touch $@

$(VENV)/.project: pyproject.toml | $(VENV)/.runtime
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $@

# Tests start hundreds of processes, which may not write bytecode: it is there before. Some files are for other versions of Python.
$(VENV)/.dev: requirements/dev.txt | $(VENV)/.project
	$(LOCKED) requirements/dev.txt
	$(BIN)/python -m compileall -qq -j 0 -x /tests/ $(VENV)/lib || true
	touch $@

# Both locks, from the ranges of pyproject.toml, for Python 3.11 to 3.13. Versions stay as they are, unless UPGRADE is
# --upgrade or '--upgrade-package NAME'.
COMPILE := $(VENV)/uv/bin/uv --config-file requirements/uv.toml pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	--generate-hashes --annotation-style line --custom-compile-command 'make lock' --constraint requirements/torch.txt --no-emit-package torch
lock: $(VENV)/.pip
	$(PIP) --upgrade --target $(VENV)/uv uv==0.13.9
	$(COMPILE) --extra dev --output-file requirements/dev.txt $(UPGRADE)
	$(COMPILE) --constraint requirements/dev.txt --output-file requirements/runtime.txt

demo: $(RUNTIME)
	@$(BIN)/python -m flows.distill --preset quick --real digits --root runs/demo

# Four processes on two cores: tests that wait for a server or a worker leave a core to the others. Fast tests wait for little.
PROCESSES = 4
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile --durations 25

# ONNX Runtime for browsers, from npm, for tests of the page of an export. They are skipped where there is no npm, but not in CI.
WEB := $(VENV)/web/onnxruntime-web-1.30.0.tgz
$(WEB):
	mkdir -p $(@D)
	cd $(@D) && npm pack --silent --ignore-scripts onnxruntime-web@1.30.0
PAGE := $(if $(shell command -v npm),$(WEB))

test: $(DEV) $(PAGE)
	$(PYTEST) -m 'not slow'

test-fast: PROCESSES = 3
test-fast: $(DEV)
	$(PYTEST) -m 'not slow and not thorough'

test-slow: $(DEV) $(PAGE) $(SERVICES)/.installed
	$(PYTEST) -m 'slow and not sweep'

# PostgreSQL is Debian's; where it cannot be installed, the tests that need it say so and are skipped.
$(SERVICES)/.installed: requirements/services.txt | $(DEV)
	command -v pg_ctl >/dev/null || ls /usr/lib/postgresql/*/bin/pg_ctl >/dev/null 2>&1 || \
		{ apt-get update -q && apt-get install -qy --no-install-recommends postgresql; } || true
	rm -rf $(SERVICES)
	$(PIP) --no-deps --target $(SERVICES) --requirement $<
	touch $@

# The two above at once, before a release: servers start once, and what waits in one leaves its core to the other.
test-all: $(DEV) $(PAGE) $(SERVICES)/.installed
	$(PYTEST) -m 'not sweep'

test-sweep: $(DEV)
	$(PYTEST) -m sweep

# Snippets for Node, with ONNX Runtime's package from npm, which the tests do not fetch.
NODE_MODULES := $(VENV)/node/node_modules
$(NODE_MODULES):
	npm install --prefix $(VENV)/node --ignore-scripts --no-audit --no-fund --silent onnxruntime-node@1.30.0

test-node: $(DEV) $(NODE_MODULES)
	ADVKD_NODE_MODULES=$(abspath $(NODE_MODULES)) $(PYTEST) tests/advkd/export/onnx/test_node.py

# ExecuTorch beside .venv's packages, which its requirements would change; its tests are skipped without it. What Python says
# when it compiles a file of theirs for the first time is no fault of ours.
MOBILE := $(VENV)/mobile/executorch
$(MOBILE): | $(DEV)
	$(PIP) --no-deps --target $(@D) executorch==1.5.1 torchao==0.18.0 flatbuffers==25.12.19 ruamel.yaml==0.19.1 tabulate==0.10.0

test-mobile: $(DEV) $(MOBILE)
	PYTHONPATH=$(abspath $(dir $(MOBILE))) $(PYTEST) -W 'ignore:invalid escape sequence:DeprecationWarning' tests/advkd/export/test_executorch.py

bench-device: $(DEV)
	$(BIN)/python -m benchmarks.device --write
	$(BIN)/python -m benchmarks.device_page --write

# Each row of benchmarks/mutant_rows/ breaks one line of a copy of the tree; its tests must find it.
mutants: $(DEV)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.mutants --write

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench-solvers: $(DEV)
	$(BIN)/python -m benchmarks.solvers --write

bench-train: $(DEV)
	$(BIN)/python -m benchmarks.train

bench-paper: $(DEV)
	$(BIN)/python -m benchmarks.paper_step

bench-faults: $(DEV)
	$(BIN)/python -m benchmarks.paper_faults --write

bench-teacher: $(DEV)
	$(BIN)/python -m benchmarks.teacher

bench-cache: $(DEV) $(COMPARED)/.installed
	PYTHONPATH=$(COMPARED) $(BIN)/python -m benchmarks.cache

$(COMPARED)/.installed: benchmarks/requirements.txt | $(DEV)
	rm -rf $(COMPARED)
	$(PIP) --no-deps --target $(COMPARED) --requirement $<
	touch $@

# What was measured stays below runs/recipe; OPTIONS='--teacher emoji --seconds 240 --groups student' for another one.
bench-recipe: $(DEV)
	$(BIN)/python -m benchmarks.recipe --write $(OPTIONS)

# Which average of the weights: one run, every average of it. STORE: `advkd precompute --teacher digits` with 50 DDIM steps and captures.
bench-averages: $(DEV)
	$(BIN)/python -m benchmarks.averages --store $(STORE) --write

bench-worth: $(DEV)
	$(BIN)/python -m benchmarks.worth --write

# What was measured stays below runs/peers; OPTIONS='--teacher emoji --seconds 1200' for another teacher and budget.
bench-peers: $(DEV)
	$(BIN)/python -m benchmarks.peers $(OPTIONS) --write

bench-features: $(DEV)
	$(BIN)/python -m benchmarks.features_agreement --write

bench-throughput: $(DEV)
	$(BIN)/python -m benchmarks.throughput

bench-paper-setting: $(DEV)
	$(BIN)/python -m benchmarks.paper_setting --write

bench-evaluation: $(DEV)
	$(BIN)/python -m benchmarks.evaluation_time --write

bench-memory: $(DEV)
	$(BIN)/python -m benchmarks.memory_of_evaluation --write

bench-heaps: $(DEV)
	$(BIN)/python -m benchmarks.heaps --write

bench-full-size: $(DEV)
	$(BIN)/python -m benchmarks.full_size --write

bench-browse: $(DEV)
	$(BIN)/python -m benchmarks.browse --write

bench-orchestration: $(DEV)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.orchestration --write

bench-environments: $(DEV)
	$(BIN)/python -m benchmarks.environments --write

# Six hours, in a sitting of its own; OPTIONS='--hours 2' for less, '--hours 0' for the page alone.
bench-operated: $(DEV)
	$(BIN)/python -m benchmarks.operated_memory --write $(OPTIONS)

# KILLS in all; what was killed before is not killed again.
KILLS ?= 20
soak: $(DEV)
	$(BIN)/python -m benchmarks.soak --kills $(KILLS) --write

deploy: $(RUNTIME)
	$(BIN)/python -m flows.deploy

serve: $(RUNTIME)
	@$(BIN)/python -m flows.serve $(SERVE)

clean:
	rm -rf build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
