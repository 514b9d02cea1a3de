"""What a user did or met that stops the work. The message of an error names the field or file, and the remedy.

A command that meets one prints its message on stderr, a line a problem, and ends with the exit code of its class:

    0    done
    1    ScenerecError       none of the others; or a command that only looks says no, such as `cluster status`
    2    ConfigError         a YAML file, an override or an option that is wrong; the shell's usage errors, too
    2    PlanError           a config that does not fit its data or its cluster
    3    StorageError        object storage or a folder that cannot be read or written
    3    NotFoundError       an object, a bucket or a folder that is not there
    4    DataError           a data set, a shard or an image that is not as it should be
    5    CheckpointError     a run or a checkpoint that is damaged, finished or another one
    6    ModelError          an architecture or weights that cannot be built, loaded or converted
    7    ClusterError        a cluster that cannot be reached, or lacks what a job asks for
    8    BundleError         a bundle that is damaged, or does not pass a gate
    9    RegistryError       a model, version or alias that is not there, or may not be changed so
    10   EndpointError       an endpoint that refuses, fails or does not answer (scenerec.client.errors)
    11   MissingPartError    a command needs a part of scenerec that is not installed
    130  interrupted by Ctrl-C, or a followed job was stopped
"""

from scenerec.names import quoted


class ScenerecError(Exception):
    """Base of all errors that are the user's to mend; the CLI prints its message and exits with `exit_code`."""

    exit_code = 1


class ConfigError(ScenerecError):
    """A YAML file, an override or an option is wrong. The message may have several lines, one a problem."""

    exit_code = 2


class PlanError(ScenerecError):
    """A valid config does not fit its data or its cluster."""

    exit_code = 2


class StorageError(ScenerecError):
    """Object storage or a folder cannot be read or written."""

    exit_code = 3


class NotFoundError(StorageError):
    """An object, a bucket or a folder is not there."""


class DataError(ScenerecError):
    """A data set, a shard or an image is not what its manifest says."""

    exit_code = 4


class CheckpointError(ScenerecError):
    """A checkpoint is damaged, incomplete or of another run."""

    exit_code = 5


class ModelError(ScenerecError):
    """An architecture or weights cannot be built, loaded or converted."""

    exit_code = 6


class ClusterError(ScenerecError):
    """A cluster cannot be reached or started, or lacks what a job asks for."""

    exit_code = 7


class BundleError(ScenerecError):
    """A bundle is damaged, changed, foreign, or does not pass a gate."""

    exit_code = 8


class RegistryError(ScenerecError):
    """A model, version or alias is not in the registry, or may not be changed so."""

    exit_code = 9


class MissingPartError(ScenerecError):
    """A part of scenerec is not installed, which a command needs."""

    exit_code = 11


def first_line(error: BaseException) -> str:
    """Returns the first line of a library's error, without its full stop; where it says nothing, its class's name."""
    lines = str(error).strip().splitlines()
    return quoted(lines[0].rstrip(".") if lines else type(error).__name__)


def last_line(text: str, otherwise: str) -> str:
    """Returns the last line that says something, without its full stop: what a program's output or trace ends with."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removesuffix(".") if lines else otherwise


def system_reason(error: BaseException) -> str:
    """Returns the operating system's words, which lie below a library's error, where it has any; else `first_line`."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return first_line(error)
