"""The layers of the product: which room may import which, read off the import statements, inner ones included."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import scenerec

ROOT = Path(scenerec.__file__).parents[1]
ROOMS = ("scenerec", "cluster", "jobs", "serve")

GROUND = ("scenerec.storage",)
"""Rooms that all may import and that import nothing above; so are all files straight in scenerec/, but for LAYERS'."""

LAYERS: tuple[tuple[str, ...], ...] = (
    ("scenerec.checkpoint",),
    ("scenerec.client", "scenerec.models"),
    ("scenerec.config",),
    ("scenerec.data",),
    ("scenerec.inference",),
    ("scenerec.training",),
    ("scenerec.export",),
    ("scenerec.search",),
    ("cluster", "jobs", "serve"),
    ("scenerec.commands", "scenerec.cli", "scenerec.__main__"),
)
"""From below, upon the ground."""

ROOF = len(LAYERS) - 1
"""From this layer on Ray is known: cluster, jobs and serve, and the commands above them."""

INFERENCE = ("bundles", "predictors", "evaluation")
"""Layers within scenerec/inference, from below; explain stands beside evaluation."""

TORCH = {"torch", "torchvision"}
TENSORFLOW = {"tensorflow", "keras", "tf2onnx", "ai_edge_litert"}
EITHER_FRAMEWORK = {
    "scenerec.models.keras_twin": TORCH | TENSORFLOW,  # turns a torch network into its Keras twin
    "scenerec.inference.predictors.tflite_predictor": {"ai_edge_litert"},  # the runtime of TFLite files, no framework
    "scenerec.export.xnnpack_plan": {"ai_edge_litert"},  # of which this asks
}
"""Files without a framework in their name that import one all the same."""

LARGEST_FILE_LINES = 450


@cache
def modules() -> dict[str, Path]:
    """Every module of the product by its dotted name; a package by the name of its folder."""
    found = {}
    for file in (file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))):
        parts = file.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


@cache
def imports(module: str) -> frozenset[str]:
    """What a module imports anywhere in its text: the product's modules, of others the top-level name."""
    found = set()
    for node in ast.walk(ast.parse(modules()[module].read_text())):
        match node:
            case ast.Import(names):
                found |= {resolved(alias.name) for alias in names}
            case ast.ImportFrom(name, names, level):
                assert level == 0 and name, f"{module}: imports are absolute"
                found |= {resolved(f"{name}.{alias.name}") for alias in names}
    return frozenset(found - {module})


def resolved(name: str) -> str:
    if name.partition(".")[0] not in ROOMS:
        return name.partition(".")[0]
    while name not in modules():
        name = name.rpartition(".")[0]
    return name


def arrows() -> Iterator[tuple[str, str]]:
    """(importer, imported), both of the product."""
    for module in modules():
        for target in sorted(imports(module) & modules().keys()):
            yield module, target


def lies_in(module: str, room: str) -> bool:
    return f"{module}.".startswith(f"{room}.")


def layer(module: str) -> int:
    """0 on the ground."""
    for number, rooms in enumerate(LAYERS, start=1):
        if any(lies_in(module, room) for room in rooms):
            return number
    is_file = not (ROOT / room(module).replace(".", "/")).is_dir()
    assert is_file or room(module) in ("scenerec", *GROUND), f"LAYERS says not where {room(module)} is"
    return 0


def room(module: str) -> str:
    return ".".join(module.split(".")[: 2 if lies_in(module, "scenerec") else 1])


@pytest.mark.slow
def test_no_import_points_upward() -> None:
    upward = [f"{a} -> {b}" for a, b in arrows() if layer(b) > layer(a)]
    assert upward == []


def test_rooms_of_one_layer_below_the_roof_do_not_know_each_other() -> None:
    sideways = [f"{a} -> {b}" for a, b in arrows() if 0 < layer(a) == layer(b) < ROOF and room(a) != room(b)]
    assert sideways == []


def test_below_the_roof_nobody_knows_ray() -> None:
    assert [module for module in modules() if layer(module) < ROOF and "ray" in imports(module)] == []


def test_the_layers_of_inference() -> None:
    def height(module: str) -> int:
        inside = module.removeprefix("scenerec.inference").removeprefix(".").partition(".")[0]
        return INFERENCE.index(inside) if inside in INFERENCE else len(INFERENCE) - 1

    inside = [(a, b) for a, b in arrows() if lies_in(a, "scenerec.inference") and lies_in(b, "scenerec.inference")]
    assert inside
    assert [f"{a} -> {b}" for a, b in inside if height(b) > height(a)] == []


def test_a_framework_is_imported_only_where_its_name_is() -> None:
    strangers = []
    for module in modules():
        allowed = {name for place, names in EITHER_FRAMEWORK.items() if lies_in(module, place) for name in names}
        parts = module.rpartition(".")[2].split("_")
        allowed |= TORCH if "torch" in parts else set()
        allowed |= TENSORFLOW if "tf" in parts else set()
        strangers += [f"{module} -> {name}" for name in sorted(imports(module) & (TORCH | TENSORFLOW) - allowed)]
    assert strangers == []


def test_nothing_forms_a_circle() -> None:
    """Neither modules nor packages nor rooms, each package taken as a whole."""
    graph: dict[str, set[str]] = {}
    for pair in arrows():
        a, b = ([room(name), *name.removeprefix(room(name)).split(".")[1:]] for name in pair)
        common = next((depth for depth, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
        if common is not None:  # elsewhere one is the package of the other
            graph.setdefault(".".join(a[: common + 1]), set()).add(".".join(b[: common + 1]))
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_no_file_is_too_long_to_be_read() -> None:
    files = [*modules().values(), *(ROOT / "tests").rglob("*.py")]
    written = [file for file in files if not file.name.endswith("_pb2.py")]
    long = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in written}
    assert {name: lines for name, lines in long.items() if lines > LARGEST_FILE_LINES} == {}
