# Everything needs only Python 3.11 to 3.13 with venv; the first target makes the environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-unit test-integration lint format bench-ray bench-start bench-twins bench-parity bench-twin-speed bench-export bench-int8 bench-search bench-serve fuzz proto clean

demo: $(READY)  ## Cluster, store, scenes, the same model trained in both frameworks
	$(BIN)/scenerec demo

test: test-unit test-integration  ## All tests

test-unit: $(READY)  ## Without cluster or store
	$(BIN)/pytest tests/unit

test-integration: $(READY)  ## On a real Ray cluster and a real S3 store
	$(BIN)/pytest tests/integration

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench-ray: $(READY)  ## Training under Ray against the same loop in bare processes
	$(BIN)/python -m tests.bench.ray_overhead

bench-start: $(READY)  ## What comes before a job's first step, part by part, beside bare processes (ten minutes)
	$(BIN)/python -m tests.bench.start

bench-twins: $(READY)  ## The Keras twins of all 80 architectures against torch (hours; goes on where it ended)
	$(BIN)/python -m tests.bench.twin_parity

bench-parity: $(READY)  ## The same 50 steps in both frameworks, and their curves in a picture (a quarter of an hour)
	$(BIN)/python -m tests.bench.training_parity

bench-twin-speed: $(READY)  ## A training step of the ResNet-50 twin against keras.applications' (two minutes)
	$(BIN)/python -m tests.bench.twin_speed

bench-export: $(READY)  ## Both routes to ONNX: seconds, memory, differences, nodes, speed (half an hour)
	$(BIN)/python -m tests.bench.export_routes

bench-int8: $(READY)  ## int8 and TFLite against float32, form by form (half an hour)
	$(BIN)/python -m tests.bench.quantization

fuzz: $(READY)  ## Damaged pictures and odd requests against decoder and server; prints how many (five minutes)
	$(BIN)/python -m tests.fuzz

bench-search: $(READY)  ## The same random trials at full length and with ASHA (PHOTOS=folder; half an hour)
	$(BIN)/python -m tests.bench.search $(PHOTOS)

bench-serve: $(READY)  ## What serving costs, beside FastAPI, LitServe, BentoML and pytriton (25 minutes; needs wrk)
	$(BIN)/python -m tests.bench.serving

proto: $(READY)  ## The messages of the Open Inference Protocol, after a change of serve/oip/proto/inference.proto
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. serve/oip/proto/inference.proto

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
