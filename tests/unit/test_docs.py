"""What README and docs say is so: commands parse, files validate, links lead somewhere, what is named exists."""

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
import yaml
from pydantic import BaseModel
from typer.core import TyperGroup
from typer.testing import CliRunner

from scenerec import errors
from scenerec.cli import app
from scenerec.commands.lazy import LazyCommand
from scenerec.config.serve import ServeConfig
from scenerec.config.train import TrainConfig
from scenerec.config.tune import TuneConfig
from serve.errors import ErrorKind

ROOT = Path(__file__).parent.parent.parent
DOCS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
DECISIONS = ROOT / "docs/decisions/README.md"
RECIPES = {
    "train": "places365-resnet50.yaml",
    "multilabel": "multilabel.yaml",
    "tune": "folder-search.yaml",
    "serve": "serve-photos.yaml",
}

BLOCK = re.compile(r"^```(.*)\n((?:.*\n)*?)```$", re.MULTILINE)
ANY_BLOCK = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PATH = re.compile(r"((?:scenerec|cluster|jobs|serve|tests|docs)/[\w./-]*)(?:::([\w.]+))?")
FIELD = re.compile(
    r"((?:data|model|optimize|scale|compute|checkpoint|scheduler|budget|retrain|http|batching|rollout)\.[\w.]+)"
)
FILES = (".py", ".json", ".jsonl", ".yaml", ".onnx", ".data", ".tflite", ".safetensors")
RUN = re.compile(r"s3://scenes/runs/([^/]+)")
MODEL = re.compile(r"([a-z][\w-]*)(?:@[a-z]+|:[1-9])")
TARGET = re.compile(r"make (\w+(?:-\w+)*)(?!\S)")

of_each_document = pytest.mark.parametrize("document", DOCS, ids=lambda path: str(path.relative_to(ROOT)))


def blocks(document: Path, *languages: str) -> Iterator[tuple[str, str]]:
    """(info string, content) of the fenced blocks in these languages."""
    for info, content in BLOCK.findall(document.read_text()):
        if info.split(" ")[0] in languages:
            yield info, content


def inline_code(document: Path) -> list[str]:
    return CODE.findall(ANY_BLOCK.sub("", document.read_text()))


def shell_commands(script: str) -> Iterator[list[str]]:
    """The words of each simple command; `$(...)` is one of its own, comments and redirections are none."""
    script = script.replace("\\\n", " ").replace('"$(', "; ").replace(')"', "")
    for line in script.splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars=";|&<>")
        words.whitespace_split = True
        for is_separator, command in groupby(words, lambda word: set(word) <= set(";|&<>")):
            if not is_separator:
                yield [*command]


def check_command(words: list[str], is_complete: bool) -> None:
    """Asks the real command line, without running anything. Raises typer's usage errors."""
    command: Any = typer.main.get_command(app)
    context = typer.Context(command, info_name="scenerec")
    arguments = words[1:]
    while isinstance(command, TyperGroup) and arguments and not arguments[0].startswith("-"):
        name = arguments.pop(0)
        command = command.get_command(context, name)
        assert command is not None, f"no command: {' '.join(words)}"
        command = command.load() if isinstance(command, LazyCommand) else command
        context = typer.Context(command, parent=context, info_name=name)
    if is_complete and not isinstance(command, TyperGroup) and "--help" not in arguments:
        command.make_context(context.info_name, arguments)
    else:
        command.make_parser(context).parse_args(arguments)


@of_each_document
def test_blocks_are_checked_or_plain_text(document: Path) -> None:
    languages = {info.split(" ")[0] for info, _ in BLOCK.findall(document.read_text())}
    assert languages <= {"sh", "yaml", "python", "text"}


@of_each_document
def test_commands_are_those_of_the_command_line(document: Path) -> None:
    for _, script in blocks(document, "sh"):
        for words in shell_commands(script):
            if words[0] == "scenerec":
                check_command(words, is_complete=True)
    for code in inline_code(document):
        if code.startswith("scenerec "):
            check_command(shlex.split(code), is_complete=False)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("scenerec submitt train.yaml", "no command"),
        ("scenerec data pakc photos/ packed/", "no command"),
        ("scenerec submit train.yaml --sett optimize.lr=0.1", "No such option"),
        ("scenerec data pack photos/", "Missing parameter: dest"),
        ("scenerec export runs/photos --opset new", "valid integer"),
    ],
)
def test_a_command_that_does_not_exist_is_noticed(line: str, problem: str) -> None:
    with pytest.raises(Exception, match=problem):
        check_command(shlex.split(line), is_complete=True)


def test_the_readme_has_commands_and_files_to_check() -> None:
    readme = ROOT / "README.md"
    scripts = [script for _, script in blocks(readme, "sh")]
    assert sum(words[0] == "scenerec" for script in scripts for words in shell_commands(script)) >= 10
    assert list(blocks(readme, "yaml"))


def described_runs() -> set[str]:
    """Names of the runs that the recipes and the files in the documents describe, and of those made from them."""
    recipes = [file.read_text() for file in (ROOT / "jobs/recipes").glob("*.yaml")]
    files = [yaml.safe_load(text) for text in [*recipes, *(text for page in DOCS for _, text in blocks(page, "yaml"))]]
    named = {file["name"] for file in files if file.get("kind") in ("train", "tune", "pretrain", "probe")}
    words = [word for words in all_commands() for word in words]
    renamed = {word.removeprefix("name=") for word in words if word.startswith("name=")}
    return named | renamed | {f"{name}-best" for name in named} | {"NAME"}


def all_commands() -> list[list[str]]:
    """Our commands in the blocks of all documents."""
    scripts = [script for page in DOCS for _, script in blocks(page, "sh")]
    return [words for script in scripts for words in shell_commands(script) if words[0] == "scenerec"]


def test_commands_go_on_with_what_others_made() -> None:
    """A run is one of the described, a packed set was packed, a model of the registry was pushed."""
    runs, packed, pushed = described_runs(), set(), set()
    for words in all_commands():
        if words[1:3] == ["data", "pack"]:
            packed |= {f"{words[4]}{split}" for split in ("", "/train", "/val", "/test")}
        if words[1:3] == ["registry", "push"]:
            pushed.add(words[4] if len(words) > 4 else words[3].split("/")[4])
    for words in all_commands():
        for word in words[1:]:
            if run := RUN.match(word):
                assert run[1] in runs, words
            if word.startswith("s3://scenes/photos"):
                assert word in packed, words
            if model := MODEL.fullmatch(word):
                assert model[1] in pushed, words
        if words[1] in ("logs", "stop", "status") or words[1:3] in (["tune", "show"], ["tune", "config"]):
            named = [word for word in words[2:] if not word.startswith("-") and word not in ("show", "config")]
            assert not named or "/" in named[0] or named[0] in runs, words


@of_each_document
def test_yaml_is_valid(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block with a `kind` is a whole file; ```` ```yaml train ```` is a part of a train.yaml."""
    monkeypatch.setenv("BUCKET", "scenes")
    for info, text in blocks(document, "yaml"):
        content = yaml.safe_load(text)
        if "kind" not in content:
            recipe = ROOT / "jobs/recipes" / RECIPES[info.removeprefix("yaml ")]
            content = merged(yaml.safe_load(recipe.read_text()), content)
        file = tmp_path / "file.yaml"
        file.write_text(yaml.safe_dump(content))
        result = CliRunner().invoke(app, ["validate", str(file)])
        assert result.exit_code == 0, f"{text}\n{result.output}"


def merged(base: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    both = [key for key, value in part.items() if isinstance(value, dict) and isinstance(base.get(key), dict)]
    return base | part | {key: merged(base[key], part[key]) for key in both}


@of_each_document
def test_links_lead_somewhere(document: Path) -> None:
    for link in LINK.findall(ANY_BLOCK.sub("", document.read_text())):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_in_the_index() -> None:
    listed = {(ROOT / "docs" / link).resolve() for link in LINK.findall((ROOT / "docs/README.md").read_text())}
    records = {path for path in DOCS if path.parent.name == "decisions" and path.name != "README.md"}
    assert set(DOCS) - records <= listed | {ROOT / "README.md", ROOT / "docs/README.md"}
    assert records <= {(ROOT / "docs/decisions" / link).resolve() for link in LINK.findall(DECISIONS.read_text())}


def anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", ANY_BLOCK.sub("", document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@of_each_document
def test_named_files_and_what_they_define_exist(document: Path) -> None:
    """`scenerec/data/order.py::permutation` names a definition in a file."""
    for code in inline_code(document):
        if match := PATH.fullmatch(code):
            path, name = match.groups()
            assert (ROOT / path).exists(), code
            assert name is None or name in definitions(ROOT / path), code


@cache
def definitions(file: Path) -> set[str]:
    def of(body: list[ast.stmt], prefix: str) -> Iterator[str]:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from of(node.body, f"{prefix}{node.name}.")
            if isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                yield from (prefix + target.id for target in targets if isinstance(target, ast.Name))

    return set(of(ast.parse(file.read_text()).body, ""))


def config_fields(annotation: Any, prefix: str = "") -> Iterator[str]:
    for part in get_args(annotation):
        yield from config_fields(part, prefix)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            yield prefix + name
            yield from config_fields(field.annotation, f"{prefix}{name}.")


@of_each_document
def test_config_keys_exist(document: Path) -> None:
    known = {field for model in (TrainConfig, TuneConfig, ServeConfig) for field in config_fields(model)}
    for code in inline_code(document):
        if (match := FIELD.match(code)) and not code.endswith(FILES):
            assert match[1] in known, code


@of_each_document
def test_make_targets_exist(document: Path) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    scripts = [line for _, script in blocks(document, "sh") for line in script.splitlines()]
    for code in [*inline_code(document), *scripts]:
        if match := TARGET.match(code):
            assert match[1] in targets, code


@of_each_document
def test_imports_of_python_examples_work(document: Path) -> None:
    for _, example in blocks(document, "python"):
        for node in ast.walk(ast.parse(example)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(str(node.module))
                assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)


def test_exit_codes_are_listed() -> None:
    table = (ROOT / "docs/errors.md").read_text()
    listed = {
        name: int(code)
        for code, names in re.findall(r"^\| (\d+) \| ([^|]*) \|", table, re.MULTILINE)
        for name in CODE.findall(names)
    }
    defined = {name: kind.exit_code for name, kind in vars(errors).items() if isinstance(kind, type)}
    assert defined.items() <= listed.items()


def test_error_codes_of_the_endpoint_are_listed() -> None:
    rows = re.findall(r"^\| (4\d\d|5\d\d) \| ([^|]*) \|", (ROOT / "docs/errors.md").read_text(), re.MULTILINE)
    listed = {(int(status), code) for status, codes in rows for code in CODE.findall(codes)}
    assert listed == {(kind.status, kind.code) for kind in ErrorKind}
