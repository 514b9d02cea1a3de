from pathlib import Path

import pytest

from scenerec.config.file import config_schema, dump_config, load_config, parse_any, parse_as
from scenerec.config.serve import ServeConfig
from scenerec.errors import ConfigError
from scenerec.frozen import Frozen, field_docstrings

MINIMAL = "kind: serve\nname: scenes\nmodels:\n  - name: photos\n    version: photos@production\n"


def problem(text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as raised:
        parse_as(ServeConfig, text, "serve.yaml", overrides)
    return str(raised.value)


def test_a_minimal_file_has_sensible_defaults_and_survives_a_round_trip() -> None:
    config = parse_as(ServeConfig, MINIMAL, "serve.yaml")
    assert (config.http.port, config.scale.min_replicas, config.registry) == (8000, 1, "s3://scenes/models")
    assert parse_any(dump_config(config), "again.yaml") == config


def test_overrides_reach_into_blocks() -> None:
    config = parse_as(ServeConfig, MINIMAL, "serve.yaml", ["scale.max_replicas=3", "http.grpc_port=null"])
    assert (config.scale.max_replicas, config.http.grpc_port) == (3, None)


@pytest.mark.parametrize(
    ("addition", "overrides", "message"),
    [
        ("htp: {}\n", (), "serve.yaml:6: htp: unknown key; did you mean `http`?"),
        ("    wieght: 1\n", (), "serve.yaml:6: models.0.wieght: unknown key"),
        ("    canary: {version: photos:2, wait: 1}\n", (), "models.0.canary.wait: unknown key"),
        ("    canary: {version: photos:2, weight: 1}\n", (), "models.0.canary.weight: must be below 1, not 1"),
        ("  - {name: photos, version: photos:2}\n", (), "models: photos stands twice"),
        ("", ("scale.min_replicas=3",), "scale.max_replicas: must not be less than min_replicas"),
        ("", ("http.route_prefix=photos",), "http.route_prefix"),
        ("", ("http.port=70000",), "http.port"),
    ],
)
def test_what_is_wrong_is_named_with_file_line_and_field(
    addition: str, overrides: tuple[str, ...], message: str
) -> None:
    assert message in problem(MINIMAL + addition, *overrides)


def test_a_file_of_another_kind_is_told_its_command(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text(MINIMAL)
    with pytest.raises(ConfigError, match="kind: is serve: use it with `scenerec serve deploy`"):
        load_config(file)
    assert "use it with `scenerec submit`" in problem("kind: train\nname: x\n")


def test_the_schema_describes_every_field() -> None:
    assert '"api_keys"' in config_schema("serve")
    for model in (ServeConfig, *(field.annotation for field in ServeConfig.model_fields.values())):
        if isinstance(model, type) and issubclass(model, Frozen):
            assert field_docstrings(model).keys() == model.model_fields.keys()


def test_the_recipe_is_valid() -> None:
    recipe = Path(__file__).parents[3] / "jobs" / "recipes" / "serve-photos.yaml"
    config = parse_as(ServeConfig, recipe.read_text(), str(recipe))
    assert config.models[0].version == "photos@production"
