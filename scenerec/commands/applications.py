"""The application that was named on the command line: by a file, by a model of the registry, or by a run."""

import json
import os
from pathlib import Path

from scenerec.commands import options
from scenerec.commands.registry import REGISTRY_VARIABLE
from scenerec.commands.run_bundle import bundle_of_run, find_run, is_run
from scenerec.config.file import parse_as
from scenerec.config.serve import ServeConfig
from scenerec.config.yaml_text import read_text
from scenerec.errors import ConfigError, RegistryError
from scenerec.inference.bundles.registry import Registry, parse_reference
from scenerec.json_object import JsonObject


def application_of(model: str, registry: str) -> ServeConfig:
    """An application that serves one model, NAME:VERSION or NAME@ALIAS, by the name of the model."""
    return _application(parse_reference(model)[0], model, model, [f"registry={registry}"])


def application_of_file(what: str, overrides: list[str]) -> ServeConfig | None:
    """The application of a file; None for what is no file's name."""
    if what.endswith((".yaml", ".yml")) or Path(what).is_file():
        return parse_as(ServeConfig, read_text(what), what, overrides)
    if not options.is_location(what):
        parse_reference(what)
    return None


def application_of_name(what: str, overrides: list[str], may_export: bool) -> ServeConfig:
    """A model of the registry, or the bundle of a run, as an application of its own."""
    if options.is_location(what):
        return _of_run(options.location("RUN", what), overrides, may_export)
    config = _application(parse_reference(what)[0], what, what, overrides)
    try:
        Registry(config.registry).resolve(what)
    except RegistryError:
        if run_url := find_run(what):
            return _of_run(run_url, overrides, may_export)
    return config


def _of_run(url: str, overrides: list[str], may_export: bool) -> ServeConfig:
    if not is_run(url):
        raise ConfigError(f"{url}: no run is there: name its folder, such as s3://scenes/runs/photos, or a model")
    return _application(url.rpartition("/")[2], bundle_of_run(url, may_export), url, overrides)


def _application(name: str, version: str, where: str, overrides: list[str]) -> ServeConfig:
    document: JsonObject = {"kind": "serve", "name": name, "models": [{"name": name, "version": version}]}
    if registry := os.environ.get(REGISTRY_VARIABLE):
        document["registry"] = registry
    return parse_as(ServeConfig, json.dumps(document), where, overrides)
