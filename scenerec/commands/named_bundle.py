"""The bundle that was named on the command line: a folder, an address, a run, or a model of the registry."""

from pathlib import Path

from cluster.environment import use_store_environment
from scenerec.commands import options
from scenerec.commands.run_bundle import bundle_of_run, find_run, is_run
from scenerec.errors import RegistryError
from scenerec.inference.bundles.bundle import Bundle, open_bundle
from scenerec.inference.bundles.registry import Registry


def open_named(option: str, model: str, registry: str) -> Bundle:
    """Opens a bundle's folder or s3:// prefix, or what NAME, NAME:VERSION or NAME@ALIAS stands for in a registry.

    Of a run, by its folder or its name, it is the run's own bundle, which is exported where it is missing.

    Raises ConfigError that names the option, BundleError, RegistryError, StorageError, and what an export raises.
    """
    use_store_environment()
    if not options.is_location(model) and not Path(model).is_file():
        return open_bundle(_known(model, options.location("--registry", registry)))
    url = options.location(option, model)
    return open_bundle(bundle_of_run(url) if is_run(url) else url)


def _known(name: str, registry: str) -> str:
    """The address of a model of the registry; else of the bundle of a run of that name."""
    try:
        return Registry(registry).resolve(name).url
    except RegistryError:
        if run_url := find_run(name):
            return bundle_of_run(run_url)
        raise
