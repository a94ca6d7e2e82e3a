# make notebook   install, train the quick start, draw its figures, build the pages
# make test       install, run the tests
# make html       build the pages from the committed records
# make livehtml   rebuild whenever a page changes
# make check      list the figures and tables that are stale or missing
# make figures    redraw those
# make pdf        all pages as one PDF (needs LaTeX)
# make bench-peers   install the other libraries that the benchmarks compare with
# make test-gpu, make bench-gpu   test and measure on a CUDA GPU

PYTHON ?= python3
BIN := .venv/bin
QUICK := expts/20241001_quick_start expts/20261129_quick_samples
PAGE := _build/html/docs/index.html
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: notebook html livehtml check figures pdf latex text test test-slow test-faults test-slurm test-slurm-quick test-package test-pdf test-peers test-gpu bench-peers bench-gpu fuzz lint screenshot clean

notebook: quick-start html

.venv/ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[search,test]"
	touch $@

.PHONY: quick-start
quick-start: .venv/ready
	for folder in $(QUICK); do (cd $$folder && ./train.py --weights) || exit; done
	$(BIN)/atompaint-vae figures draw $(QUICK)

html: .venv/ready
	$(BIN)/python -m atompaint_vae.notebook . _build --quiet --jobs auto --fail-on-warning --keep-going
	@echo "The notebook is at $(CURDIR)/$(PAGE)"

livehtml: .venv/ready
	$(BIN)/python -m atompaint_vae.notebook --live . _build --quiet --jobs auto --fail-on-warning --keep-going

check: .venv/ready
	$(BIN)/atompaint-vae figures check

figures: .venv/ready
	$(BIN)/atompaint-vae figures draw

pdf: .venv/ready
	@command -v latexmk >/dev/null && command -v xelatex >/dev/null || \
		{ echo "make pdf needs LaTeX: latexmk and xelatex" >&2; exit 2; }
	LATEXMKOPTS=-silent $(BIN)/sphinx-build -M latexpdf . _build --quiet --fail-on-warning --keep-going
	@echo "The notebook is at $(CURDIR)/_build/latex/atompaint_vae.pdf"

latex text: .venv/ready
	$(BIN)/sphinx-build -M $@ . _build --quiet --jobs auto --fail-on-warning --keep-going

# axe-core, which is no Python package, tests the pages; CI fails without it.
node_modules/axe-core: Makefile
	npm install --silent --no-save --no-package-lock --ignore-scripts axe-core@4.14.1 && touch $@ || \
		echo "without npm, axe-core doesn't test the pages" >&2

# The tests of a module share expensive fixtures.
test: .venv/ready node_modules/axe-core
	$(BIN)/python -m pytest --numprocesses auto --dist loadscope --durations 25

test-slow: .venv/ready
	$(BIN)/python -m pytest -m slow

test-faults: .venv/ready
	$(BIN)/python -m pytest -m faults --write-tables

# Slurm is idle most of the time, so there are more processes than cores; each starts its own.
test-slurm: .venv/ready
	$(BIN)/python -m pytest -m slurm --numprocesses 4 --dist worksteal --write-tables tests/cluster

# A preempted array, and one task of an array that is killed in several ways.
test-slurm-quick: .venv/ready
	$(BIN)/python -m pytest -m slurm --numprocesses 2 -k "ended or preemption and not graceful" tests/cluster

# The wheel and the sdist, in environments without torch.
test-package: .venv/ready
	$(BIN)/python -m pytest -m package

# The pages as a PDF; skipped where LaTeX is missing.
test-pdf: .venv/ready
	$(BIN)/python -m pytest -m pdf -rs

fuzz: .venv/ready
	$(BIN)/python tests/fuzz/fuzz_readers.py --seconds 60

test-peers: .venv/ready bench-peers
	$(BIN)/python -m pytest -m peers

# Without one, the tests are skipped.
test-gpu: .venv/ready
	$(BIN)/python -m pytest -m gpu -rs

# Takes up to ten minutes, and writes benchmarks/records/gpu.json.
bench-gpu: .venv/ready
	$(BIN)/python -m benchmarks gpu --record

bench-peers: .venv-peers/ready .venv-peers-notebook/ready

# escnn needs older packages than ours, and a Fortran compiler for a dependency without a wheel.
.venv-peers/ready: benchmarks/peers/requirements.txt constraints.txt
	@command -v gfortran >/dev/null || { echo "gfortran is missing; on Debian: apt-get install gfortran"; exit 1; }
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --upgrade pip
	.venv-peers/bin/python -m pip install --quiet --constraint constraints.txt --requirement benchmarks/peers/requirements.txt
	touch $@

# exmemo needs docopt, which conflicts with our docopt-ng.
.venv-peers-notebook/ready: benchmarks/peers/requirements_notebook.txt
	test -x .venv-peers-notebook/bin/python || $(PYTHON) -m venv .venv-peers-notebook
	.venv-peers-notebook/bin/python -m pip install --quiet --upgrade pip
	.venv-peers-notebook/bin/python -m pip install --quiet --requirement benchmarks/peers/requirements_notebook.txt
	touch $@

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/zizmor --offline --quiet --strict-collection .github

screenshot: html
	docs/images/take_screenshot.py

clean:
	rm -rf _build
