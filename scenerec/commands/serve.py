"""`scenerec serve`: the inference endpoint."""

import json
import shlex
import time
from datetime import datetime
from typing import Annotated

import typer

from cluster.applications import Applications
from cluster.client import ClusterClient
from cluster.environment import use_store_environment
from scenerec.commands import options
from scenerec.commands.applications import application_of_file, application_of_name
from scenerec.commands.connect import connect, connect_or_start
from scenerec.commands.registry import DEFAULT_URL, RegistryUrl
from scenerec.commands.registry import rollback as roll_back_alias
from scenerec.config.file import dump_config, parse_as
from scenerec.config.serve import ServeConfig
from scenerec.errors import BundleError, ClusterError, ConfigError, PlanError
from scenerec.inference.bundles.bundle import read_info
from scenerec.inference.bundles.registry import Registry
from scenerec.json_object import JsonObject
from serve.endpoint import check_ports

_STOP_PATIENCE_S = 180.0  # with requests under way, which are answered first

app = typer.Typer()

Name = Annotated[str, typer.Argument(metavar="NAME", help="The application.")]


@app.command(
    epilog="Example: scenerec serve deploy serve.yaml --set scale.max_replicas=4\n\n"
    "Example: scenerec serve deploy photos@production\n\n"
    "Example: scenerec serve deploy s3://scenes/runs/photos"
)
def deploy(
    what: Annotated[
        str,
        typer.Argument(
            metavar="FILE|MODEL|RUN",
            help="The application, such as serve.yaml; a model: NAME@ALIAS; or a run: its folder or name.",
        ),
    ],
    overrides: options.Overrides = [],  # noqa: B006 - typer copies it
    address: options.Address = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check, and print the whole configuration.")] = False,
    as_json: options.Json = False,
) -> None:
    """Bring an application into service, or up to date, and wait until it answers.

    Every model is checked first. An application that is up keeps answering: what
    has changed comes into service once it has proven itself.

    A run that has no bundle yet is exported first, into RUN/bundles/fp32.
    """
    described = application_of_file(what, overrides)  # before a cluster starts for it
    client = None if dry_run else connect_or_start(address)
    use_store_environment()
    config = described or application_of_name(what, overrides, may_export=not dry_run)
    _check(config, client)
    if client is None:
        typer.echo(json.dumps(config.model_dump(mode="json")) if as_json else dump_config(config), nl=as_json)
        return
    result = put_into_service(config, client)
    _show([result], result, as_json)
    if not as_json:
        typer.echo(f"\n{example(result['url'], config.models[0].name, config.http.api_keys)}")


def check_place(config: ServeConfig, client: ClusterClient) -> None:
    """Raises PlanError where a replica fits no node, ClusterError where the endpoint cannot be where it shall be."""
    _check_room(config, client)
    _check_endpoint(config, client)


def put_into_service(config: ServeConfig, client: ClusterClient) -> JsonObject:
    """Deploys an application that has been checked, waits until it answers, and returns how it stands."""
    _send(client, config.name, config)
    return _standing(client, config.name)


@app.command(epilog="Example: scenerec serve status photos --json")
def status(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="The application; all by default.")] = "",
    address: options.Address = None,
    as_json: options.Json = False,
) -> None:
    """Show what runs, which versions answer, and what the roll-outs did."""
    result = Applications(connect(address)).status(name)
    _show(result["applications"], result, as_json)


@app.command(epilog="Example: scenerec serve scale photos --min 2 --max 8")
def scale(
    name: Name,
    minimum: Annotated[int | None, typer.Option("--min", min=0, help="Fewest replicas.", show_default=False)] = None,
    maximum: Annotated[int | None, typer.Option("--max", min=1, help="Most replicas.", show_default=False)] = None,
    replicas: Annotated[
        int | None, typer.Option(min=1, help="That many, always: --min and --max in one.", show_default=False)
    ] = None,
    address: options.Address = None,
    as_json: options.Json = False,
) -> None:
    """Change how many replicas an application may have. Those that stay are not touched."""
    if replicas and (minimum is not None or maximum):
        raise ConfigError("--replicas: is --min and --max in one: leave these out")
    wanted = {"min_replicas": replicas or minimum, "max_replicas": replicas or maximum}
    change = {key: value for key, value in wanted.items() if value is not None}
    if not change:
        raise ConfigError("how many? give --min, --max or --replicas")
    client = connect(address)
    applications = Applications(client)
    config = applications.config(name)
    scaled = parse_as(
        ServeConfig, json.dumps({**config, "scale": {**config["scale"], "initial_replicas": None, **change}}), name
    )
    if not applications.deploy(name, scaled.model_dump(mode="json")):
        _send(client, name, scaled)
    result = _standing(client, name)
    _show([result], result, as_json)


@app.command(epilog="Example: scenerec serve rollback photos")
def rollback(
    model: Annotated[str, typer.Argument(metavar="MODEL[@ALIAS]", help="The model; its alias `production` if none.")],
    registry: RegistryUrl = DEFAULT_URL,
) -> None:
    """Move a model's alias back to the version before; what serves the alias follows within seconds."""
    roll_back_alias(model, registry=registry)


@app.command(epilog="Example: scenerec serve stop photos")
def stop(name: Name, address: options.Address = None, as_json: options.Json = False) -> None:
    """End an application. Requests under way are answered first."""
    client = connect(address)
    applications = Applications(client)
    if not applications.delete(name):
        _send(client, name, None)
    ends_at = time.monotonic() + _STOP_PATIENCE_S
    while name in (left := applications.names()):
        if time.monotonic() > ends_at:
            raise ClusterError(
                f"{name}: has not ended within {_STOP_PATIENCE_S:g} s of being told to: see `scenerec serve status`, "
                "and ask again"
            )
        time.sleep(0.1)
    if not left:
        applications.shut_down(_STOP_PATIENCE_S)  # the next one may listen elsewhere
    typer.echo(json.dumps({"stopped": name, "left": left}) if as_json else f"ended {name}")


@app.command(epilog="Example: scenerec serve key mobile-app --file s3://scenes/keys.yaml --images-per-s 20")
def key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who will call.")],
    file: Annotated[str, typer.Option(metavar="FILE", help="The file that serve.yaml names as http.api_keys.")],
    images_per_s: Annotated[
        float | None, typer.Option(min=0.001, help="Images a second on average; unlimited by default.")
    ] = None,
    burst: Annotated[float, typer.Option(min=1, help="Images at once.")] = 20,
    replace: Annotated[bool, typer.Option("--replace", help="In place of the key that NAME has.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take the key back.")] = False,
) -> None:
    """Make an API key, and note its hash in a file. What serves reads the file again by itself.

    The key is printed once, on standard output, and kept nowhere.
    """
    from serve.access.key_file import add_key, remove_key  # brings onnxruntime, as what answers needs it

    if replace and remove:
        raise ConfigError("--replace, --remove: give one of them")
    use_store_environment()
    place = options.location("--file", file)
    if remove:
        remove_key(place, name)
        typer.echo(f"{name} may no longer call", err=True)
        return
    made = add_key(place, name, images_per_s, burst, replace)
    typer.echo(f"the key of {name}, which is shown only now:", err=True)
    typer.echo(made)


def _check(config: ServeConfig, client: ClusterClient | None) -> None:
    """Before a job starts: every bundle is there and of a kind that can be served, and a replica has room."""
    for model in config.models:
        for reference in (model.version, *([model.canary.version] if model.canary else [])):
            info = read_info(reference) if "/" in reference else Registry(config.registry).resolve(reference).info
            if not info.can_be_served:
                raise BundleError(
                    f"models: {model.name}: {reference} is a bundle of format {info.format}, which no endpoint serves: "
                    "export one of format onnx"
                )
    if config.http.api_keys:
        from serve.access.keys import read_keys  # brings onnxruntime

        read_keys(config.http.api_keys)
    if client:
        check_place(config, client)


def _check_room(config: ServeConfig, client: ClusterClient) -> None:
    nodes, scale = client.nodes(), config.scale
    if not any(node.cpus >= scale.cpus_per_replica and node.gpus >= scale.gpus_per_replica for node in nodes):
        largest = max(nodes, key=lambda node: (node.gpus, node.cpus))
        raise PlanError(
            f"scale: a replica of {scale.cpus_per_replica} CPUs and {scale.gpus_per_replica:g} GPUs fits no node: "
            f"the largest has {largest.cpus:g} CPUs and {largest.gpus:g} GPUs"
        )


def _check_endpoint(config: ServeConfig, client: ClusterClient) -> None:
    """The endpoint can be where the file says. On another machine than this the job itself looks who has its ports."""
    http, endpoint = config.http, Applications(client).endpoint()
    if endpoint is None:
        if client.address.embedded:
            check_ports(http, http.host or "127.0.0.1")
        return
    for field in sorted(http.model_fields_set & {"host", "port", "grpc_port"}):
        wanted, found = getattr(http, field), getattr(endpoint, field)
        if wanted != found and not (field == "host" and wanted is None):
            raise ClusterError(
                f"http.{field}: {wanted}: the endpoint of this cluster has {found}, as its first application asked: "
                "leave it out, or end all that is served first (`scenerec serve stop NAME`)"
            )


def _send(client: ClusterClient, name: str, config: ServeConfig | None) -> None:
    """Lets a job of the cluster deploy the application, or end it where there is no config."""
    from scenerec.commands.kinds import SERVE  # not where no job is sent: they take as long to import as all the rest
    from scenerec.commands.send_job import run_job

    order = {
        "name": name,
        "config": config and config.model_dump(mode="json"),
        "default_host": "127.0.0.1" if client.address.embedded else "0.0.0.0",
    }
    run_job(client, SERVE, f"serve-{'deploy' if config else 'stop'}-{name}", json.dumps(order), is_quiet=config is None)


def _standing(client: ClusterClient, name: str) -> JsonObject:
    """How the application stands, with what is known of the endpoint."""
    status = Applications(client).status(name)
    return {**status["applications"][0], **{key: status[key] for key in ("http", "grpc_port", "tls")}}


def _show(applications: list[JsonObject], result: JsonObject, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result))
        return
    if not applications:
        typer.echo("no applications: start one with `scenerec serve deploy serve.yaml`")
    for each in applications:
        _show_application(each)


def _show_application(application: JsonObject) -> None:
    replicas = ", ".join(f"{count} {state.lower()}" for state, count in application["replicas"].items()) or "none"
    typer.echo(f"{application['name']}  {application['status']}  {application['url']}  replicas: {replicas}")
    if application["message"]:
        typer.echo(f"  {application['message'].splitlines()[0]}")
    if application.get("rollout"):
        typer.echo(f"  its roll-out {application['rollout']}: which versions are served is not known")
    for name, model in application.get("models", {}).items():
        serving = " + ".join(
            f"{each['model']}:{each['number']}" + (f" ({each['weight']:.0%})" if each["weight"] < 1 else "")
            for each in model["serving"]
        )
        typer.echo(f"  {name:<20} serves {serving or 'nothing yet'}")
        if model["refused"]:
            typer.echo(
                f"  {'':<20} refused {' + '.join(each['number'] for each in model['wanted'])}: {model['refused']}"
            )
    if application.get("store_error"):
        typer.echo(f"  the store does not answer, what is served stays: {application['store_error']}")
    for event in application.get("events", [])[-5:]:
        when = datetime.fromtimestamp(event["at_s"]).strftime("%Y-%m-%d %H:%M:%S")
        typer.echo(f"  {when}  {event['model']} {event['what']}: {event['detail']}")


def example(url: str, model: str, api_keys: str | None) -> str:
    """The lines that show how an endpoint is asked; where it wants a key, with one in an environment variable."""
    key, lines = "", [f"try it: {url}/ in a browser, or"]
    if api_keys:
        key = '-H "Authorization: Bearer $SCENEREC_API_KEY" '
        lines.append(f"  export SCENEREC_API_KEY=$(scenerec serve key NAME --file {shlex.quote(api_keys)})")
    lines.append(f"  curl {key}--data-binary @photo.jpg '{url}/v1/models/{model}:predict?top_k=3'")
    lines.append(f"  scenerec predict photo.jpg --model {model} --endpoint {url}")
    return "\n".join(lines)
