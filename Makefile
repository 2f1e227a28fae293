# make run    set up the base install and start the server on http://localhost:8000
# make phone  the same for the whole network, with https and a QR code for phones
# make test   set up everything, a browser included, and run all tests
# make quick  the part of them that needs no extras, services or browser, in under 3 minutes
# make check  lint, format, types, import floors
# make lowest the detector's and the server's tests on the lowest versions that pyproject.toml allows
# make docs   the pages of docs/ as a site, in site/
# make release  archives, wheel, list of parts and checks of a release, in dist/ (CONTRIBUTING.md)
# make bench  measure everything, about two hours, and write docs/benchmarks.md

PYTHON ?= python3
BIN := .venv/bin
# Processes that `make test` runs modules of tests in, side by side: twice as many as two cores, as most tests wait for
# sockets, browsers and clocks. Each takes up to 2.5 GB with its browser and servers: `make test N=2` where there is less.
N ?= 4
# They begin in the order of tests/conftest.py, the longest first. One that dies ends the run with an error: xdist would
# put another in its place and wait for ever.
SIDE_BY_SIDE := --dist loadfile --no-loadscope-reorder --max-worker-restart=0
# Compiled once, not in each of the hundreds of processes that tests start, whatever the environment says.
test quick: export PYTHONDONTWRITEBYTECODE :=
SHELL := /bin/bash

.PHONY: run phone test quick check lowest bench docs release wheels constraints image-test clean

run: .venv/base
	@exec $(BIN)/defectvision serve

phone: .venv/base
	@HOST=$${HOST:-0.0.0.0} exec $(BIN)/defectvision serve --https

test: .venv/all
	@$(BIN)/python -m tests.equipment
	$(BIN)/python -m pytest -n $(N) $(SIDE_BY_SIDE)

quick: .venv/quick
	$(BIN)/python -m pytest --quick -n 2 $(SIDE_BY_SIDE)

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

docs: .venv/all
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "site/index.html"

release: .venv/all
	$(BIN)/python -m release

# The wheel in a clean environment of each Python: part of a release.
wheels: .venv/all
	$(BIN)/python -m release.wheels

# The versions installed here are those that the container is built of.
constraints: .venv/all
	$(BIN)/python -m release.constraints

# The container built and run without Docker, by Debian's buildah: minutes, root, so not a part of `make test`.
image-test: .venv/all
	@$(BIN)/python -m tests.equipment image
	IMAGE_TEST=1 $(BIN)/python -m pytest tests/release/test_image.py

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
	rm -rf .venv .venv-lowest build dist site *.egg-info
