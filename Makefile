# make demo   environment, simulated cohort, the whole workflow, report, in demo/
# make test   the full test suite (about 25 minutes on 2 cores)
# make docs   the documentation as a site, in site/
# Both install what they need into .venv. Nothing is installed system-wide.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
CORES ?= 2
DEMO ?= demo
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)
export PYTHONPATH := $(CURDIR)/workflow
export PYTHONNOUSERSITE := 1

.PHONY: help env env-amico env-dev demo check-demo test test-full lint unit workflow-tests cluster browser calibrate noise-free bench gpu mutants learning papers docs screenshots clean
# The suites run one after the other, so that each has all cores. The time of each is printed.
.NOTPARALLEL:

help:
	@grep -E '^# make' Makefile | sed 's/^# //'

define timed
	@start=$$(date +%s); $(2); echo "== $(1): $$(( $$(date +%s) - start )) s"
endef

# ------------------------------------------------------------------------------------ environments
$(VENV)/.requirements: requirements.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else "neurostrata needs Python 3.11 to 3.13, $(PYTHON) is %d.%d; set PYTHON=..." % v)'
	@echo "Installing the pinned requirements into $(VENV) (once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

# The command `neurostrata`, of this clone: an edit needs no new installation.
$(VENV)/.installed: pyproject.toml $(VENV)/.requirements
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/.requirements-amico: requirements-amico.txt $(VENV)/.requirements
	@echo "Installing AMICO (dmri-amico), for diffusion.noddi.engine: amico; its licence allows research, not commercial use"
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-amico.txt
	@touch $@

$(VENV)/.requirements-dev: requirements-dev.txt $(VENV)/.requirements-amico
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

env: $(VENV)/.requirements $(VENV)/.installed

# By hand, for diffusion.noddi.engine: amico.
env-amico: $(VENV)/.requirements-amico

env-dev: $(VENV)/.requirements-dev

# -------------------------------------------------------------------------------------------- demo
demo: env
	$(call timed,simulate,python -m neurostrata simulate --output "$(DEMO)/cohort" --dwi-resolution-mm 5 --effect 1.5 --threads $(CORES))
	$(call timed,workflow,snakemake --directory $(DEMO) --configfile config/demo.yaml --cores $(CORES) --max-threads 1 --logger=neurostrata)
	@python -m neurostrata recovery --cohort $(DEMO)/cohort --results $(DEMO)/results --output $(DEMO)/recovery.json | sed -n '/^How much/,$$p'
	@python -m neurostrata summary --results $(DEMO)/results

# After make demo: check that the planted truth is recovered within bounds.
check-demo: env-dev
	@NEUROSTRATA_DEMO=$(abspath $(DEMO)) python -m pytest -q tests/demo

# -------------------------------------------------------------------------------------------- tests
test: env-dev
	@start=$$(date +%s); export NEUROSTRATA_SKIPS=$$(mktemp); \
	for suite in lint unit workflow-tests cluster browser; do $(MAKE) --no-print-directory $$suite; done; \
	sort -u $$NEUROSTRATA_SKIPS; rm -f $$NEUROSTRATA_SKIPS; \
	echo "== make test: $$(( $$(date +%s) - start )) s"

lint: env-dev
	$(call timed,lint,ruff check . && ruff format --check . && snakefmt --check Snakefile workflow/rules && mypy --no-error-summary && lint-imports --no-cache)

# Each process has one thread: two threads in each of two processes on two cores wait for each other most of the time.
unit: env-dev
	$(call timed,unit,OMP_NUM_THREADS=1 python -m pytest -q -n $(CORES) -m "not slow" tests/unit tests/real tests/gpu)

workflow-tests: env-dev
	$(call timed,workflow,python -m pytest -q -n $(CORES) --dist loadfile -m "not slow" tests/workflow)

cluster: env-dev
	$(call timed,cluster,python -m pytest -q -m "not slow" tests/cluster)

# axe-core, which looks for what keeps people from reading the report; only the tests use it.
tests/browser/node_modules/.package-lock.json: tests/browser/package.json tests/browser/package-lock.json
	@if npm ci --prefix tests/browser --silent --no-audit --no-fund; then touch $@; \
	else echo "npm is missing or cannot fetch axe-core: the tests with it are skipped"; fi

browser: env-dev tests/browser/node_modules/.package-lock.json
	$(call timed,browser,python -m pytest -q -m "not slow" tests/browser)

# By hand, before a larger change is finished: real brains, null cohorts, killed runs (about 40 minutes).
test-full: test
	$(call timed,slow tests,python -m pytest -q -m slow --ignore tests/demo tests)

# By hand: false-alarm rates on 2,000 null cohorts with families (about 30 minutes on one core).
calibrate: env-dev
	python tests/calibration/null_cohorts.py 2000

# By hand, resumable: learning curves on 100 simulated people, kept in docs/tables (half an hour on 2 idle cores; see --help for a GPU).
learning: env-dev
	python tests/learning/curves.py --people 100 --epochs 40 --every 4 --parallel $(CORES) --output learning --table docs/tables/learning.tsv

# By hand, resumable: small runs with the preset of each paper, from simulated images to reports in papers/ (half an hour on one core).
papers: env-dev
	nice -n 10 python tests/papers/run.py --output papers --cores $(CORES)

# By hand: recovery of the demo's deformations from images without noise and bias, to compare with check-demo's value.
noise-free: env
	python -m neurostrata simulate --output noise-free/cohort --noise 0 --no-diffusion --threads $(CORES)
	snakemake --directory noise-free --configfile config/demo.yaml tests/calibration/noise_free.yaml --cores $(CORES) --quiet rules reason -- maps
	@python -m neurostrata recovery --cohort noise-free/cohort --results noise-free/results --output noise-free/recovery.json | sed -n '/^How much/,$$p'

# By hand, on an idle machine: compare each stage with its peer and write docs/benchmarks.md (about an hour).
bench: env-dev
	python tests/benchmarks/run.py

# By hand, on a machine with a GPU: correctness against the CPU, speed and memory, into docs/gpu.json (8 minutes). Installs nothing.
gpu:
	$(PYTHON) tests/gpu/run.py --output docs/gpu.json

# By hand: how many small changes of the code the unit tests notice; docs/mutants.md. A stopped run goes on where it was.
# make mutants PACKAGES="strata phenotypes/factors.py" MUTANTS="--sample 40"
PACKAGES ?= fusion/models fusion/layers fusion/training/module.py
MUTANTS ?=
mutants: env-dev
	nice -n 10 python tests/mutants/run.py $(PACKAGES) $(MUTANTS)

# The documentation as a site, in site/: mkdocs refuses broken links. The page of all keys is written anew.
docs: env-dev
	@python docs/tools/configuration.py
	@python docs/tools/costs.py
	@python docs/tools/quality.py
	@NO_MKDOCS_2_WARNING=1 mkdocs build 2>&1 | sed '/^INFO/d'
	@echo "site/index.html (its search needs a server: python -m http.server -d site)"

# After make demo: the pictures of README and of the tutorial (needs Chromium).
screenshots: env-dev
	@python docs/tools/screenshots.py $(DEMO)

clean:
	rm -rf $(VENV) $(DEMO) noise-free learning papers site
