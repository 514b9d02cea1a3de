"""`scenerec ls` and `scenerec cp`: what lies in a store or folder, and copies of it."""

import json
from pathlib import Path
from typing import Annotated

import typer

from cluster.environment import use_store_environment
from scenerec.commands import options
from scenerec.commands.screen.progress_bar import ProgressBar
from scenerec.errors import ConfigError, NotFoundError
from scenerec.storage import ObjectInfo, Storage, open_storage, split_url
from scenerec.storage.copy import copy_object, copy_order
from scenerec.storage.writable import check_writable

app = typer.Typer()

DEFAULT_URL = "s3://scenes"


@app.command(epilog="Examples: scenerec ls s3://scenes/runs | scenerec ls -r s3://scenes/runs/first")
def ls(
    address: Annotated[
        str, typer.Argument(metavar="[ADDRESS]", help="An object, or a folder of such: s3:// or local.")
    ] = DEFAULT_URL,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="All below it, not only the next level.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """List what lies in a store or folder, with its size; of s3:// the embedded store's, unless you name another."""
    use_store_environment()
    address = options.location("ADDRESS", address).rstrip("/")
    objects, is_folder = _find(address)
    if is_folder and not recursive:
        objects = _next_level(objects)
    if as_json:
        typer.echo(json.dumps([{"key": info.key, "size_bytes": info.size_bytes} for info in objects]))
        return
    for info in objects:
        typer.echo(f"{_size(info.size_bytes):>10}  {info.key}")


@app.command(epilog="Example: scenerec cp s3://scenes/runs/first/tensorboard ./tensorboard")
def cp(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="An object, or a folder of such: s3:// or local.")],
    destination: Annotated[
        str,
        typer.Argument(metavar="DESTINATION", help="Where it shall be. For an object, with / at its end: a folder."),
    ],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there already.")] = False,
    as_json: options.Json = False,
) -> None:
    """Copy an object or a folder, between stores and folders of this machine, whichever way."""
    use_store_environment()
    source = options.location("SOURCE", source).rstrip("/")
    wanted = options.location("DESTINATION", destination)
    objects, is_folder = _find(source)
    whence = open_storage(source if is_folder else split_url(source)[0])
    target, names = open_storage(wanted), {info.key: info.key for info in objects}
    if not is_folder and not _is_folder(destination, wanted):
        folder, name = split_url(wanted)
        target, names = open_storage(folder), {objects[0].key: name}
    _check(whence, target, names, overwrite)
    copied_bytes = 0
    with ProgressBar("copying", unit="objects") as bar:
        for done, info in enumerate(copy_order(objects), start=1):
            copy_object(whence, info, target, names[info.key])
            copied_bytes += info.size_bytes
            bar.show(done, len(objects))
    place = target.url if is_folder else f"{target.url}/{names[objects[0].key]}"
    if as_json:
        typer.echo(json.dumps({"destination": place, "objects": len(objects), "size_bytes": copied_bytes}))
        return
    typer.echo(f"{place}: {len(objects)} object(s), {_size(copied_bytes)}")


def _find(address: str) -> tuple[list[ObjectInfo], bool]:
    """The object at an address, its key relative to its folder; or all in that folder, and True."""
    folder, key = split_url(address)
    if key and (size := open_storage(folder).size(key)) is not None:
        return [ObjectInfo(key, size)], False
    if objects := list(open_storage(address).list()):
        return objects, True
    raise NotFoundError(f"{address}: nothing is there: `scenerec ls {folder}` shows what is")


def _is_folder(typed: str, address: str) -> bool:
    """Whether an object is copied into what was typed, and not to it."""
    return typed.endswith("/") or not split_url(address)[1] or ("://" not in address and Path(address).is_dir())


def _check(source: Storage, target: Storage, names: dict[str, str], overwrite: bool) -> None:
    """Before anything is copied. Raises ConfigError for what would be lost, StorageError for what cannot be written."""
    places = {f"{target.url}/{name}" for name in names.values()}
    if places & {f"{source.url}/{key}" for key in names}:
        raise ConfigError(f"DESTINATION {target.url}: is where SOURCE is: name another")
    taken = next((name for name in names.values() if not overwrite and target.size(name) is not None), None)
    if taken:
        raise ConfigError(f"{target.url}/{taken}: is there already: name another destination, or add --overwrite")
    check_writable(target.url)


def _next_level(objects: list[ObjectInfo]) -> list[ObjectInfo]:
    """Objects right below, and folders (`name/`) with the bytes of all below them."""
    sizes: dict[str, int] = {}
    for info in objects:
        name, slash, _ = info.key.partition("/")
        sizes[name + slash] = sizes.get(name + slash, 0) + info.size_bytes
    return [ObjectInfo(key, size) for key, size in sizes.items()]


def _size(size_bytes: int) -> str:
    """`1.5 MB`; whole bytes below a kilobyte."""
    size, unit = float(size_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
