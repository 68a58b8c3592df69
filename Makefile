# make demo   masks of the photos in examples/, from nothing but git, make and Python >= 3.10
# make test   the test suite              make lint     style and types
# make soak   the tests' long versions    make coverage  which lines and branches the suite runs
# make bench  speed, in a few minutes       make format   put the code into style
# make gallery  two sheets of docs/ anew  make type     types alone
# make weights  train the bundled weights again, DATA=../shared/data OUT=runs/weights; hours, goes on where it stopped
# make clean  forget .venv and out/
# Another Python: make demo PYTHON=python3.12, in its own place with VENV=.venv312
# make test-lowest  the test suite with the lowest versions that setup.py admits: tests/lowest.txt

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= ../shared/data
OUT ?= runs/weights

.PHONY: demo test test-lowest soak coverage lint type format bench gallery weights clean

demo: $(VENV)/.installed
	$(BIN)/faceparse segment --images_path examples --save_path out --overlay
	@echo
	@echo "In out/: NAME.png is the mask (white = face), NAME_overlay.jpg shows it on the photo."
	@echo "Next:    $(BIN)/faceparse segment --images_path YOUR_PHOTOS --save_path masks --overlay"
	@echo "         $(BIN)/faceparse --help       and README.md for training on your own data"

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --ignore tests/test_video.py
	$(BIN)/python -m pytest tests/test_video.py  # sends itself Ctrl-C, which test workers do not always pass on

test-lowest:
	PIP_CONSTRAINT=$(CURDIR)/tests/lowest.txt $(MAKE) test VENV=.venv-lowest

soak: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m soak -v --durations 0

coverage: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --ignore tests/test_video.py --cov --cov-report= \
		-k "not full_disk and not refused_unread"  # a child could not write what it covered, either; watched, reading takes seconds
	$(BIN)/python -m pytest tests/test_video.py --cov --cov-append --cov-report=term-missing:skip-covered
	@$(BIN)/coverage json -q -o - | $(BIN)/python -c 'import json, sys; t = json.load(sys.stdin)["totals"]; \
		print("lines %.1f %%, branches %.1f %%" % (100 * t["covered_lines"] / t["num_statements"], 100 * t["covered_branches"] / t["num_branches"]))'

weights: $(VENV)/.installed
	$(BIN)/python benchmarks/make_weights.py --data $(DATA) --out $(OUT)

lint: type
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(VENV)/.installed-test
	$(BIN)/mypy

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Short forms, of drawn pictures and examples/; how the figures in the docs were made is in benchmarks/README.md.
bench: $(VENV)/.installed-test
	$(BIN)/python benchmarks/bench_preprocess.py --pictures 200 --loops 20 --rounds 2
	$(BIN)/python benchmarks/bench_hands.py --faces 10 --hands 6 --loops 2
	$(BIN)/python benchmarks/bench_inference.py --pictures 8 --slow 1 --rounds 3
	$(BIN)/python benchmarks/bench_video.py --videos examples/astronaut.jpg --weights_path person --frames 24
	$(BIN)/python benchmarks/bench_losses.py --size 128 --batch_size 4 --rounds 3
	$(BIN)/python benchmarks/bench_training.py --size 128 --batch_size 4 --batches 5 --rounds 3
	$(BIN)/python benchmarks/bench_growth.py --only network classes --most 512

gallery: $(VENV)/.installed
	$(BIN)/python examples/gallery.py docs/gallery.jpg
	$(BIN)/python examples/things.py docs/things.jpg

clean:
	rm -rf $(VENV) out build *.egg-info

# The two stamps: what is installed is installed again only when setup.py changes.
$(VENV)/.installed: setup.py
	@command -v $(PYTHON) > /dev/null || { echo "error: there is no $(PYTHON); install Python 3.10 or newer, or name one: make PYTHON=/path/to/python"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit("error: faceparse needs Python 3.10 or newer, but $(PYTHON) is %d.%d; name a newer one: make PYTHON=python3.12" % v[:2] if v < (3, 10) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --disable-pip-version-check --editable '.[test]'
	@touch $@
