# What there is to run; `make` alone lists it. Needs Python 3.11 to 3.13 (with venv) and make, and a network only for the
# first installation. PYTHON=... chooses the interpreter that the environment .venv is made with.

PYTHONS := $(or $(PYTHON),python3.11 python3.12 python3.13 python3 python)
python := .venv/bin/python

# The demo's size: enough for a score worth showing, little enough for minutes on two cores.
DEMO_TRAINING := 2500
DEMO_TEST := 400

.DELETE_ON_ERROR:
.PHONY: help demo test lint bench image clean environment environment-dev

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: demo/.training demo/.test ## install, simulate recordings, score them with pretrained, train recipe quick, run the driver, evaluate, report
	$(python) driver.py pretrained demo/test demo/outputs-pretrained
	$(python) evaluate_12ECG_score.py demo/test demo/outputs-pretrained
	$(python) train_model.py demo/training demo/model --recipe quick
	$(python) driver.py demo/model demo/test demo/outputs
	$(python) evaluate_12ECG_score.py demo/test demo/outputs --report demo/test.html
	@echo
	@echo "Recordings to train on  demo/training"
	@echo "Recordings to test on   demo/test"
	@echo "What the model that comes with the program says of them: demo/outputs-pretrained"
	@echo "The trained model       demo/model    (make demo again finds it finished and trains nothing)"
	@echo "An answer for each      demo/outputs, and how good they are: demo/test.html"
	@echo "The training's report   demo/model/report.html"

test: ## everything that .ci/run runs: format, lint, types, tests
	+@bash .ci/run

lint: environment-dev ## format and lint in place, check types
	$(python) -m ruff format .
	$(python) -m ruff check --fix .
	$(python) -m mypy

bench: environment-dev ## measure the ratios of benchmarks/ and write benchmarks/results.json
	$(python) -m benchmarks.run

image: ## build the container image with Docker
	docker build -t leadwise .

clean: ## remove the demo and all caches; .venv stays
	rm -rf demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

# The environment. A stamp tells what is installed, so that a second run asks no package index.
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

# The demo's recordings: simulated once, and again when the simulator changes.
simulator := $(wildcard leadwise/simulate.py leadwise/simulate/*.py)

demo/.training: $(simulator) | environment
	$(python) -m leadwise.simulate demo/training --recordings $(DEMO_TRAINING) --seed 1
	@touch $@

demo/.test: $(simulator) | environment
	$(python) -m leadwise.simulate demo/test --recordings $(DEMO_TEST) --seed 2
	@touch $@
