"""The bundle that was named on the command line: a folder, an address, or a model of the registry."""

from pathlib import Path

from cluster.environment import use_store_environment
from scenerec.commands import options
from scenerec.inference.bundles.bundle import Bundle, open_bundle
from scenerec.inference.bundles.registry import Registry


def open_named(option: str, model: str, registry: str) -> Bundle:
    """Opens a bundle's folder or s3:// prefix, or what NAME, NAME:VERSION or NAME@ALIAS stands for in a registry.

    Raises ConfigError that names the option, BundleError, RegistryError, StorageError.
    """
    use_store_environment()
    if "/" in model or Path(model).exists():
        return open_bundle(options.location(option, model))
    return open_bundle(Registry(options.location("--registry", registry)).resolve(model).url)
