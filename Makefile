# make run    set up the base install and start the server on http://localhost:8000
# make phone  the same for the whole network, with https and a QR code for phones
# make test   set up everything, a browser included, and run all tests
# make quick  the part of them that needs no extras, services or browser, in under 3 minutes
# make check  lint, format, types, import floors
# make lowest the detector's and the server's tests on the lowest versions that pyproject.toml allows
# make bench  measure everything, about two hours, and write docs/benchmarks.md

PYTHON ?= python3
BIN := .venv/bin
# Modules of tests side by side: most of them wait for sockets, browsers and clocks.
TWO := -n 2 --dist loadfile
SHELL := /bin/bash

.PHONY: run phone test quick check lowest bench clean

run: .venv/base
	@exec $(BIN)/defectvision serve

phone: .venv/base
	@HOST=$${HOST:-0.0.0.0} exec $(BIN)/defectvision serve --https

test: .venv/all
	@$(BIN)/python -m tests.equipment
	$(BIN)/python -m pytest $(TWO)

quick: .venv/quick
	$(BIN)/python -m pytest --quick $(TWO)

check: .venv/all
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_floors.py

lowest: .venv-lowest/all
	.venv-lowest/bin/python -m tests.lowest --check
	.venv-lowest/bin/python -m pytest tests/detector tests/server

bench: .venv/all
	@$(BIN)/python -m tests.equipment
	$(BIN)/python -m benchmarks

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; '$(PYTHON)' is older or missing. Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/base: pyproject.toml | .venv/bin/python
	@echo "Installing DefectVision into .venv: about 800 MB, a minute, once."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

.venv/all: pyproject.toml | .venv/bin/python
	@echo "Installing everything, torch and anomalib included: about 6 GB, some minutes, once."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[torch,int8,lite2,anomalib,line,ray,dev]'
	@touch $@ .venv/base .venv/quick

.venv/quick: pyproject.toml | .venv/bin/python
	@echo "Installing DefectVision and what its quick tests need into .venv: about 900 MB, a minute, once."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@ .venv/base

.venv-lowest/all: pyproject.toml
	@echo "Installing the lowest versions of everything into .venv-lowest, about 900 MB."
	rm -rf .venv-lowest
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check packaging
	.venv-lowest/bin/python -m tests.lowest > .venv-lowest/constraints.txt
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check -c .venv-lowest/constraints.txt -e '.[test]'
	@touch $@

clean:
	rm -rf .venv .venv-lowest build dist *.egg-info
