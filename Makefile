# Everything needs only Python with venv (pyproject.toml says which versions); each target makes the environment first.
PYTHON ?= python3
# Processes of the coverage's and the mutants' tests; each holds torch and TensorFlow, 2 GB.
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Of `make chaos`.
SEED ?= 1
MINUTES ?= 60
# Files with unit tests that are too slow for `make test-unit`, in parts.
SLOW := $(shell grep --recursive --files-with-matches --include='*.py' 'mark\.slow' tests/unit | sort)
SLOW_TRAINING := $(filter tests/unit/training/%,$(SLOW))
SLOW_MODELS := $(filter tests/unit/models/% tests/unit/export/%,$(SLOW))
# Of the tests' matrix, one case of each row; with CASES= all.
CASES ?= and not matrix
# All unit tests that need TensorFlow, and as many others as make half of the time.
WITH_TENSORFLOW := $(addprefix tests/unit/,commands data/adoption/test_adopt.py export inference \
	models training $(addprefix data/test_,bench.py inputs.py recycled_memory.py stream.py view_pair.py))
# Where it is set, every process compiles all that it imports anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help venv demo check test test-all test-unit test-integration test-cluster test-without-cluster test-slow-training test-slow-models test-slow-others test-with-tensorflow test-without-tensorflow test-nodes chaos coverage mutation lint format hooks bench-ray bench-start bench-twins timm-weights bench-parity bench-twin-speed bench-export bench-int8 bench-search bench-pretrain bench-distill bench-ease bench-costs bench-gpu bench-data bench-scale bench-serve bench-watch bench-predict fuzz proto wheel clean

help:  ## What can be made
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(READY)  ## The environment that all others need (some minutes)

demo: $(READY)  ## Cluster, store, scenes, the same model trained in both frameworks
	$(BIN)/scenerec demo

check: lint test-unit  ## What every change must pass: lint and unit tests

test: test-unit test-integration  ## What a change must pass: units, and one case of each row on a cluster

test-all:  ## All tests, with the matrix of frameworks, architectures and options
	$(MAKE) test CASES=

# Two processes of one thread each: what hands tests out one by one (pytest-xdist) costs a core for half a minute.
test-unit: $(READY)  ## Without cluster or store (two minutes; without the slow ones)
	OMP_NUM_THREADS=1 $(MAKE) -j 2 test-with-tensorflow test-without-tensorflow

test-with-tensorflow: $(READY)
	$(BIN)/pytest $(WITH_TENSORFLOW) -m "not slow $(CASES)"

test-without-tensorflow: $(READY)
	$(BIN)/pytest tests/unit $(addprefix --ignore=,$(WITH_TENSORFLOW)) -m "not slow $(CASES)"

# Two at a time: whichever process has ended first, the next one takes its place.
test-integration: $(READY)  ## On a real Ray cluster and a real S3 store, and the slow units
	$(MAKE) -k -j 2 test-cluster test-without-cluster test-slow-training test-slow-models test-slow-others

test-cluster: $(READY)
	$(BIN)/pytest tests/integration -m "cluster $(CASES)"
	$(BIN)/pytest tests/nodes -m "slow and not nodes $(CASES)"

test-without-cluster: $(READY)
	$(BIN)/pytest tests/integration -m "not cluster $(CASES)"

# Two threads that wait for each other are slower than one where others compute as well.
test-slow-training test-slow-models test-slow-others: export OMP_NUM_THREADS = 1
test-slow-training test-slow-models test-slow-others: export TF_NUM_INTRAOP_THREADS = 1

test-slow-training: $(READY)
	$(BIN)/pytest $(SLOW_TRAINING) -m "slow $(CASES)"

test-slow-models: $(READY)
	$(BIN)/pytest $(SLOW_MODELS) -m "slow $(CASES)"

test-slow-others: $(READY)
	$(BIN)/pytest $(filter-out $(SLOW_TRAINING) $(SLOW_MODELS),$(SLOW)) -m "slow $(CASES)"

# KEEP_FAULTS: docs/faults.md has its table from here.
test-nodes: $(READY)  ## Training on several nodes, machines made of namespaces, under every fault (root; about an hour)
	KEEP_FAULTS=1 $(BIN)/pytest tests/nodes

# The seed draws the faults: the same ones come again with it.
chaos: $(READY)  ## An hour of faults upon a training and an endpoint, judged to the last bit (root; SEED=1, MINUTES=60)
	$(BIN)/python -m tests.chaos --seed $(SEED) --minutes $(MINUTES)

coverage: $(READY)  ## Lines and branches that the unit tests reach, and which they do not (five minutes)
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --cov --cov-report=term-missing tests/unit

# Their results are kept in mutants/, and only what has changed since is tried again. CI=true: always the same examples.
mutation: $(READY)  ## Faults put into the pure modules, which the unit tests must find; pyproject.toml lists them
	CI=true OMP_NUM_THREADS=1 $(BIN)/mutmut run --max-children $(WORKERS)
	$(BIN)/mutmut results

lint: $(READY)  ## Style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint cluster/images/*.Dockerfile

format: $(READY)  ## Puts the style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

hooks: $(READY)  ## Lint before every commit from now on
	$(BIN)/pre-commit install

bench-ray: $(READY)  ## Training under Ray against the same loop in bare processes
	$(BIN)/python -m tests.bench.ray_overhead

bench-start: $(READY)  ## What comes before a job's first step, part by part, beside bare processes (ten minutes)
	$(BIN)/python -m tests.bench.start

bench-twins: $(READY)  ## The Keras twins of all architectures against torch (hours; goes on where it ended)
	$(BIN)/python -m tests.bench.twin_parity
	$(BIN)/python -m tests.bench.timm_twins

timm-weights: $(READY)  ## The table of timm's published weights; RESULTS= results/results-imagenet.csv of its repository
	$(BIN)/python -m tests.bench.timm_weights $(RESULTS)

bench-parity: $(READY)  ## The same 50 steps in both frameworks, and their curves in a picture (a quarter of an hour)
	$(BIN)/python -m tests.bench.training_parity

bench-twin-speed: $(READY)  ## A training step of the ResNet-50 twin against keras.applications' (two minutes)
	$(BIN)/python -m tests.bench.twin_speed

bench-export: $(READY)  ## Both routes to ONNX: seconds, memory, differences, nodes, speed (half an hour)
	$(BIN)/python -m tests.bench.export_routes

bench-int8: $(READY)  ## int8 and TFLite against float32, form by form (half an hour)
	$(BIN)/python -m tests.bench.quantization

fuzz: $(READY)  ## Odd weights, configs, pictures, folders and requests; prints how many (eight minutes)
	$(BIN)/python -m tests.fuzz

bench-search: $(READY)  ## The same random trials at full length and with ASHA (PHOTOS=folder; half an hour)
	$(BIN)/python -m tests.bench.search $(PHOTOS)

bench-distill: $(READY)  ## A student with a teacher and without, three seeds (PHOTOS=folder, RUN=teacher; goes on where it ended)
	$(BIN)/python -m tests.bench.distill $(PHOTOS) $(addprefix --teacher ,$(RUN))

bench-pretrain: $(READY)  ## Features learned without labels, beside random ones and lightly's, three seeds (PHOTOS=folder; hours, goes on where it ended)
	$(BIN)/python -m tests.bench.pretrain $(PHOTOS)

bench-ease: $(READY)  ## From a folder to an answer by HTTP in two commands, beside ultralytics' training (PHOTOS=folder; twenty minutes)
	$(BIN)/python -m tests.bench.ease $(PHOTOS)

bench-costs: $(READY)  ## What a core takes to learn from an image: the table by which `scenerec train` chooses (three minutes)
	$(BIN)/python -m tests.bench.training_costs

bench-gpu: $(READY)  ## What each key of `compute` is worth, in both frameworks; on the GPU, else on the CPU (ten minutes)
	$(BIN)/python -m tests.bench.gpu_keys

bench-data: $(READY)  ## What a core reads, beside ImageFolder, torchvision v2, WebDataset, tf.data, DALI, litData and Streaming (PHOTOS=folder; 15 minutes)
	$(BIN)/python -m tests.bench.data $(PHOTOS)

bench-scale: $(READY)  ## 1.8 million images on 1 to 512 workers: planned, and predicted by a model (seconds)
	$(BIN)/python -m tests.bench.scale

bench-serve: $(READY)  ## What serving costs, beside FastAPI, LitServe, BentoML and pytriton (25 minutes; needs wrk)
	$(BIN)/python -m tests.bench.serving

bench-watch: $(READY)  ## From frame to answer on one core, beside a plain loop of OpenCV and onnxruntime (three minutes)
	$(BIN)/python -m tests.bench.watch

bench-predict: $(READY)  ## `scenerec predict --output` beside a raw loop of onnxruntime (PHOTOS=folder; two minutes)
	$(BIN)/python -m tests.bench.predict $(PHOTOS)

proto: $(READY)  ## The messages of the Open Inference Protocol, after a change of serve/oip/proto/inference.proto
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. serve/oip/proto/inference.proto

wheel: $(READY)  ## dist/: the wheel and the versions of all else, which nodes of a cluster and images install
	rm -rf build dist
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
	cp constraints.txt dist

# uv takes half of pip's time. pip follows where it fails, for only pip reads pip's settings (a mirror, a proxy).
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[dev]' || \
		$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:  ## Removes the environment and whatever was made
	rm -rf $(VENV) build *.egg-info mutants .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
