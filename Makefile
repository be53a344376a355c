# make film   sets everything up and makes a film        make test   sets everything up and runs the tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BRIEF ?= 노을 지는 바닷가에서 여우 한 마리가 풍선을 찾아 떠나는 따뜻한 이야기, 피아노 음악
OUT ?= out/film

.PHONY: setup film test check slow bench clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Jogak needs Python 3.11 or newer: make PYTHON=python3.11 …")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "torch==$$(sed -n 's/^torch==//p' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[llm,train,pocket,dev]"
	touch $@

film: setup
	$(BIN)/jogak film "$(BRIEF)" -o $(OUT)

check: setup
	$(BIN)/ruff check src pocket tests benchmarks
	$(BIN)/ruff format --check src pocket tests benchmarks
	$(BIN)/pyright

test: setup check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

slow: setup
	$(BIN)/python -m pytest -m slow

clean:
	rm -rf out build
