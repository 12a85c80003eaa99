# gpubn: `make help` lists the targets.
#
#   PYTHON=python3.12   the interpreter that makes .venv (3.11, 3.12 or 3.13)
#   GPU=0               leave CuPy out although an NVIDIA driver is present
#   DATA=folder         the four MNIST files (as GPUBN_DATA)
#   RESULTS=folder      where results are kept instead of results/ (status: looked at)
#   STYLE=slides        figures as slides of 16:9, into results/slides (figures, redraw)
#   FULL=1              the grids in full resolution, into results/full (figures, results; hours, it
#                       says how many; claims and redraw of those)
#   WORKERS=2           processes that run tests at the same time, one by default (test, mutants)
#   ARGS="key=value"    Hydra overrides (figures, results, sweep, table), or options (the others)

PYTHON ?= python3
WORKERS ?= 0
VENV := .venv
RUN := $(VENV)/bin/python
LOCKS := scripts/lock

# The driver's CUDA version decides which CuPy fits; without a driver there is none.
GPU ?= $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi >/dev/null 2>&1 && echo 1 || echo 0)
ifeq ($(GPU),1)
CUDA := $(shell nvidia-smi | sed -nE 's/.*CUDA Version: ([0-9]+).*/\1/p')
EXTRA := $(shell [ "$(CUDA)" -ge 13 ] 2>/dev/null && echo cuda13 || echo cuda12)
endif
LOCK := $(LOCKS)/$(if $(EXTRA),$(EXTRA),cpu).txt
STAMP := $(VENV)/.installed-$(if $(EXTRA),$(EXTRA),cpu)

# $(call quoted,NAME): the variable as one word of the shell, whatever is in it.
quoted = '$(subst ','\'',$(value $(1)))'
IN_RESULTS = $(if $(value RESULTS),--results $(call quoted,RESULTS))
IN_FULL = $(if $(FULL),--full)
BUILD = $(if $(value FIGURE),--figure $(call quoted,FIGURE)) $(IN_RESULTS) $(IN_FULL) \
	$(if $(value STYLE),--style $(call quoted,STYLE))

ifdef DATA
export GPUBN_DATA := $(value DATA)
endif
# A caller's paths and options must not leak into the environment that is locked here.
unexport PYTHONPATH PYTHONHOME

.DEFAULT_GOAL := help
.PHONY: help setup extras figures results redraw claims site notebooks sweep table status test test-gpu mutants lint bench bench-gpu bench-sweeps gpu-check verify parity freeze confirm universes replicate readme dist lock clean

help:  ## list the targets
	@sed -nE 's/^([a-z-]+):.*  ## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

setup: $(STAMP)  ## make .venv with the locked dependencies and this package (every target does it)

$(STAMP): pyproject.toml $(LOCK) $(LOCKS)/cpu.txt
	@$(call quoted,PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "error: PYTHON is $$($(call quoted,PYTHON) -V 2>&1); expected Python 3.11, 3.12 or 3.13" >&2; exit 1; }
	@echo "setting up $(VENV) from $(LOCK)"
	@test -x $(RUN) || $(call quoted,PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCK)
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	  --config-settings editable_mode=compat -e .
	@rm -f $(VENV)/.installed-* && touch $@

extras: $(STAMP)  ## add the launchers joblib and submitit, the trackers TensorBoard and MLflow, and NVRTC
	@$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCKS)/extras.txt

figures: $(STAMP)  ## run what is missing, then write tables and figures (FIGURE=name for one)
	@$(RUN) scripts/build.py $(BUILD) $(ARGS)

results: $(STAMP)  ## run what is missing and write the tables only
	@$(RUN) scripts/build.py --tables-only $(BUILD) $(ARGS)

redraw: $(STAMP)  ## draw the figures from the tables that are there; run nothing
	@$(RUN) scripts/build.py --redraw $(BUILD)

claims: $(STAMP)  ## decide the claims from the tables that are there; run nothing
	@$(RUN) scripts/claims.py $(IN_RESULTS) $(IN_FULL) $(ARGS)

site: $(STAMP)  ## write results/site, pages to open in a browser, from tables and figures
	@$(RUN) -c "import altair, pdoc, vl_convert" 2>/dev/null || \
	  $(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCKS)/site.txt
	@$(RUN) scripts/site.py $(IN_RESULTS) $(ARGS)

notebooks: $(STAMP)  ## execute the notebooks for teaching, into results/notebooks (ARGS=the_20_layer_network)
	@$(RUN) -c "import ipykernel, ipywidgets, jupytext, nbclient" 2>/dev/null || \
	  $(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCKS)/site.txt
	@$(RUN) scripts/notebooks/execute.py $(IN_RESULTS) $(ARGS)

sweep: $(STAMP)  ## a Hydra multirun, e.g. ARGS="experiment=mnist_init optim.rate=0.03,0.1"
	@$(RUN) scripts/run.py -m $(ARGS)

table: $(STAMP)  ## tabulate and plot the finished cells of a sweep; runs nothing
	@$(RUN) scripts/table.py $(ARGS)

status: $(STAMP)  ## which cells of which sweep are done, running, failed or missing, and why
	@$(RUN) scripts/status.py $(IN_RESULTS) $(ARGS)

test: $(STAMP)  ## the tests, on the CPU, without network or MNIST
	@$(RUN) -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

test-gpu: $(STAMP)  ## the parity tests on a GPU; fails where there is none
	@GPUBN_REQUIRE_GPU=1 $(RUN) -m pytest -m gpu $(ARGS)

mutants: $(STAMP)  ## plant faults one by one and see that the tests catch each (an hour)
	@$(RUN) scripts/mutants.py $(if $(filter-out 0,$(WORKERS)),--workers $(WORKERS)) $(ARGS)

lint: $(STAMP)  ## ruff, mypy and the import contract
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

bench: $(STAMP)  ## time kernels and training on the CPU beside JAX and PyTorch, into results/benchmarks
	@$(RUN) -c "import torch" 2>/dev/null || $(RUN) -m pip install --quiet --disable-pip-version-check torch==2.13.0
	@$(RUN) -c "import jax" 2>/dev/null || echo "without JAX; its rows need: $(RUN) -m pip install jax==0.10.2 jaxlib==0.10.2"
	@$(RUN) scripts/bench/cpu.py $(ARGS)

bench-gpu: $(STAMP)  ## time the GPU path beside PyTorch and JAX on one card, into results/benchmarks
	@$(RUN) scripts/bench/gpu.py $(ARGS)

gpu-check: $(STAMP)  ## is the GPU path right and fast on this card? ten minutes, one page (ARGS="--minutes 5")
	@$(RUN) scripts/gpu_check.py $(ARGS)

bench-sweeps: $(STAMP)  ## time launchers, simulate large sweeps, and write the sizing page
	@$(RUN) scripts/bench/sweeps.py $(ARGS)
	@$(RUN) scripts/bench/sizing.py

verify: $(STAMP)  ## run everything again and compare with the committed tables
	@$(RUN) scripts/verify.py $(ARGS)

parity: $(STAMP)  ## verify on a GPU, with a report of every metric in results/benchmarks/gpu_parity.csv
	@$(RUN) scripts/verify.py --backend cupy --report results/benchmarks/gpu_parity.csv $(ARGS)

freeze: $(STAMP)  ## freeze ledger, grids and deciding code: a line of results/freezes.csv
	@$(RUN) scripts/freeze.py $(ARGS)

confirm: $(STAMP)  ## run every claim on new seeds and decide it by what is frozen (ARGS=--full: hours)
	@$(RUN) scripts/confirm.py $(ARGS)

universes: $(STAMP)  ## decide every claim one factor away from the default (hours; ARGS="--only digits")
	@$(RUN) scripts/universes.py $(IN_RESULTS) $(ARGS)

replicate: $(STAMP)  ## some claims once more by an independent PyTorch program (5 minutes)
	@$(RUN) -c "import torch" 2>/dev/null || $(RUN) -m pip install --quiet --disable-pip-version-check torch==2.13.0
	@$(RUN) tests/replication/replicate.py $(ARGS)

readme: $(STAMP)  ## rewrite the generated parts of README.md from the results
	@$(RUN) scripts/readme.py

dist: $(STAMP)  ## make source archive and wheel of what is committed, in dist/
	@rm -rf dist build/source && mkdir -p build/source
	@git archive HEAD | tar -x -C build/source
	@cd build/source && ../../$(RUN) -c "from setuptools import build_meta as b; \
	  b.build_sdist('../../dist'); b.build_wheel('../../dist')" >/dev/null
	@ls dist/*

lock: $(STAMP)  ## solve the dependencies anew and write the lock files
	@$(RUN) -m pip install --quiet --disable-pip-version-check uv
	@for kind in cpu cuda12 cuda13; do \
	  extra=$$([ $$kind = cpu ] || echo "--extra $$kind --constraint $(LOCKS)/cpu.txt"); \
	  $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-header --no-annotate --no-emit-index-url --no-emit-find-links --extra experiments --extra numba --extra dev $$extra \
	    --output-file $(LOCKS)/$$kind.txt pyproject.toml; \
	done
	@$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --no-emit-index-url --no-emit-find-links --constraint $(LOCKS)/cpu.txt \
	  --extra joblib --extra submitit --extra tensorboard --extra mlflow --extra nvrtc \
	  --output-file $(LOCKS)/extras.txt pyproject.toml
	@$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --no-emit-index-url --no-emit-find-links --constraint $(LOCKS)/cpu.txt \
	  --extra site --extra notebooks --extra browser --output-file $(LOCKS)/site.txt pyproject.toml
	@$(RUN) $(LOCKS)/beside.py cuda12.txt cuda13.txt extras.txt site.txt

clean:  ## remove .venv, caches, the cell store and run folders; tables and figures stay
	rm -rf $(VENV) results/cells results/notebooks results/site results/.site.* results/plans results/full/complete/plans results/runs results/tensorboard results/mlflow* build dist *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find gpubn scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
