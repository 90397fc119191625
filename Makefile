# `make demo` and `make test` do all of their own set-up; only Python 3.11 or later with its venv
# module must be installed.
#
#   make demo PYTHON=python3.12     choose the interpreter
#   make demo CLIP=my.mp4           another video

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CLIP ?= fixtures/dog.mp4
# The larger recorded outputs of the published implementation, checked too where they are.
export AUTOGAZE_PARITY ?= $(wildcard $(CURDIR)/../shared/parity)
INSTALLED_BY := pyproject.toml constraints.txt scripts/setup_venv.sh

.DELETE_ON_ERROR:
.PHONY: help demo test test-long check format docs site clean

help:
	@echo "make demo    render GIFs and metrics of a sample clip into demo/"
	@echo "make test    lint, type-check and test"
	@echo "make test-long  the tests that take minutes: full disks, soaks, wheels, other processors"
	@echo "make check   lint and type-check only"
	@echo "make format  format the code and apply the linter's fixes"
	@echo "make docs    regenerate the command reference, pictures and fixture hashes"
	@echo "make site    build the documentation into site/"
	@echo "make clean   remove the environment, caches and demo/"

demo: $(VENV)/.installed
	$(BIN)/autogaze render-assets --input $(CLIP) --out-dir demo --overwrite
	@echo
	@echo "Look at the pictures and the figures:"
	@ls -1 demo/*

# Two processes of one thread each take half as long on two cores as one process of two threads.
# Compiled modules are kept, whatever the environment says: hundreds of processes load them.
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup

test: check
	$(PYTEST) -m "not long"

# Every call of a run fails once for lack of room, soaks, wheels built twice, code for other
# processors: some minutes.
test-long: $(VENV)/.installed-dev
	$(PYTEST) -m long tests

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-dev
	$(BIN)/python scripts/update_docs.py
	$(BIN)/python scripts/update_manifest.py
	$(BIN)/python -m scripts.draw_overview
	$(BIN)/autogaze render-assets --input fixtures/dog.mp4 --gif-width 176 --gif-height 99 \
	  --out-dir docs/images --overwrite
	$(BIN)/autogaze mask fixtures/dog.mp4 --frames 16 --mask-visualization image-overlay \
	  --gif-width 320 --out-dir docs/images --overwrite
	$(BIN)/autogaze interframe fixtures/dog.mp4 --frames 16 --gif-width 320 \
	  --out-dir docs/images --overwrite

# Warnings are errors: a page without a place in the menu, a link or an anchor that leads nowhere.
site: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The stamps are newer than what they depend on only after an installation that worked.
$(VENV)/.installed: $(INSTALLED_BY)
	@bash scripts/setup_venv.sh $(PYTHON) $(VENV)
	@touch $@

$(VENV)/.installed-dev: $(INSTALLED_BY)
	@bash scripts/setup_venv.sh $(PYTHON) $(VENV) dev
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: $(INSTALLED_BY)
	@bash scripts/setup_venv.sh $(PYTHON) $(VENV) dev,docs
	@touch $@ $(VENV)/.installed $(VENV)/.installed-dev

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist demo site *.egg-info
