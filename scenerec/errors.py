"""What a user did or met that stops the work: each error is one line that names the field or file, and the remedy."""


class ScenerecError(Exception):
    """Base of all errors that are the user's to mend; the CLI prints its message and exits with `exit_code`."""

    exit_code = 1


class ConfigError(ScenerecError):
    """A YAML file, or an override, that does not describe a job. May hold several lines, one a problem."""

    exit_code = 2


class PlanError(ScenerecError):
    """A valid config that does not fit its data or its cluster."""

    exit_code = 2


class StorageError(ScenerecError):
    """Object storage or a folder that cannot be read or written."""

    exit_code = 3


class NotFoundError(StorageError):
    """An object, a bucket or a folder that is not there."""


class DataError(ScenerecError):
    """A data set, a shard or an image that is not what its manifest says."""

    exit_code = 4


class CheckpointError(ScenerecError):
    """A checkpoint that is damaged, incomplete or of another run."""

    exit_code = 5


class ModelError(ScenerecError):
    """An architecture or weights that cannot be built, loaded or converted."""

    exit_code = 6


class BundleError(ScenerecError):
    """A bundle that is damaged, changed, foreign, or that does not pass a gate."""

    exit_code = 8


class RegistryError(ScenerecError):
    """A model, version or alias that is not in the registry, or that may not be changed so."""

    exit_code = 9


class ClusterError(ScenerecError):
    """A cluster that cannot be reached or started, or that lacks what a job asks for."""

    exit_code = 7


def first_line(error: BaseException) -> str:
    """Returns the first line of a library's error, without its full stop; where it says nothing, its class's name."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
