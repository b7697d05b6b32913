# Commands of the project; `make` alone lists them. Needs Python 3.11 to 3.13 (with venv) and make. Only the first
# installation needs a network. PYTHON=... chooses the interpreter for the environment .venv.

PYTHONS := $(or $(PYTHON),python3.11 python3.12 python3.13 python3 python)
python := .venv/bin/python

# Size of the demo: enough for a meaningful score, small enough for minutes on two cores.
DEMO_TRAINING := 2500
DEMO_TEST := 400

.DELETE_ON_ERROR:
.PHONY: help demo test lint bench image clean environment environment-dev

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: demo/.training demo/.test ## install, simulate recordings, score them with the included model, train recipe quick, score, evaluate, report
	$(python) driver.py pretrained demo/test demo/outputs-pretrained
	$(python) evaluate_12ECG_score.py demo/test demo/outputs-pretrained
	$(python) train_model.py demo/training demo/model --recipe quick
	$(python) driver.py demo/model demo/test demo/outputs
	$(python) evaluate_12ECG_score.py demo/test demo/outputs --report demo/test.html
	@echo
	@echo "Training recordings             demo/training"
	@echo "Test recordings                 demo/test"
	@echo "Outputs of the included model   demo/outputs-pretrained"
	@echo "Trained model and its report    demo/model, demo/model/report.html (kept by the next make demo)"
	@echo "Its outputs and evaluation      demo/outputs, demo/test.html"

test: ## run .ci/run: format, lint, types, tests
	+@bash .ci/run

lint: environment-dev ## format and lint in place, check types
	$(python) -m ruff format .
	$(python) -m ruff check --fix .
	$(python) -m mypy

bench: environment-dev ## measure the ratios of benchmarks/ and write benchmarks/results.json
	$(python) -m benchmarks.run

image: ## build the container image with Docker
	docker build -t leadwise .

clean: ## remove the demo and all caches; keep .venv
	rm -rf demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

# The environment. A stamp file records what is installed, so that a second run needs no package index.
environment: .venv/requirements.stamp
	@:

environment-dev: .venv/requirements-dev.stamp
	@:

usable := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))

.venv/made.stamp:
	@for python in $(PYTHONS); do \
	  if $$python -c '$(usable)' >/dev/null 2>&1; then \
	    echo "making .venv with $$($$python --version)"; \
	    $$python -m venv --clear .venv && touch $@; exit; \
	  fi; \
	done; echo "no Python 3.11 to 3.13 with venv among: $(PYTHONS); set PYTHON=..." >&2; exit 1

.venv/requirements.stamp: requirements.txt | .venv/made.stamp
	$(python) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/requirements-dev.stamp: requirements-dev.txt .venv/requirements.stamp
	$(python) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# The recordings of the demo: simulated once, and again when the simulator or its tables change.
simulator := $(wildcard leadwise/simulate/*.py leadwise/challenge/tables/*)

demo/.training: $(simulator) | environment
	$(python) -m leadwise.simulate demo/training --recordings $(DEMO_TRAINING) --seed 1
	@touch $@

demo/.test: $(simulator) | environment
	$(python) -m leadwise.simulate demo/test --recordings $(DEMO_TEST) --seed 2
	@touch $@
