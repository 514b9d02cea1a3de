"""A run's own bundle, for commands that take a bundle and are given a run: it is exported where it is missing."""

from pathlib import Path

from scenerec.commands import options
from scenerec.commands.screen.quiet import quiet_frameworks
from scenerec.commands.screen.step_lines import StepLines
from scenerec.errors import BundleError, ClusterError
from scenerec.inference.bundles.bundle import INFO_FILE, read_info
from scenerec.storage import open_storage

_PLACE = "bundles/fp32"  # that of `scenerec export RUN`


def is_run(url: str) -> bool:
    """Whether a run's folder is at `url`, and no bundle. Raises StorageError."""
    storage = open_storage(url)
    return storage.size(INFO_FILE) is None and storage.size("config.yaml") is not None


def find_run(name: str) -> str | None:
    """The folder of the newest run of this name that is known here; None where there is none, and for NAME@ALIAS."""
    if "@" in name or ":" in name:
        return None
    from scenerec.commands.known_jobs import KnownJobs  # Ray's client, which a light install does without

    try:
        return KnownJobs(None).find(name).run_url
    except ClusterError:
        return None


def model_location(option: str, typed: str) -> str:
    """The address of a model that was typed for `option`: a run known here by its name, else a folder's or file's."""
    if not options.is_location(typed) and not Path(typed).is_file() and (run_url := find_run(typed)):
        return run_url
    return options.location(option, typed)


def bundle_of_run(run_url: str, may_export: bool = True) -> str:
    """Returns the address of the float32 bundle of a run's best checkpoint, which lies beside the run.

    It is exported, and that is said, where there is none, or one of another checkpoint. Raises as an export does, also
    where the part of scenerec that exports is not installed; BundleError where it may not be exported.
    """
    from scenerec.inference.predictors.trained_model import find_checkpoint

    checkpoint, url = find_checkpoint(run_url), f"{run_url}/{_PLACE}"
    exported = _exported_checkpoint(url)
    if exported == checkpoint:
        return url
    why = f"its bundle is of {exported.rpartition('/')[2]}, not its best" if exported else "it has no bundle yet"
    if not may_export:
        raise BundleError(f"{run_url}: {why}: `scenerec export {run_url}` makes one")
    _export(run_url, url, f"{run_url}: {why}: exporting {checkpoint.rpartition('/')[2]} to {url}")
    return url


def _exported_checkpoint(url: str) -> str | None:
    """The checkpoint that the bundle at `url` was made from; None where there is no bundle that can be read."""
    if open_storage(url).size(INFO_FILE) is None:
        return None
    try:
        return read_info(url).lineage.source
    except BundleError:
        return None


def _export(run_url: str, url: str, told: str) -> None:
    with quiet_frameworks() as terminal, StepLines(terminal) as lines:
        print(told, file=terminal)
        from scenerec.export import exporter  # imports torch and onnx
        from scenerec.export.options import Options
        from scenerec.export.source import open_source

        exporter.export(open_source(run_url), url, Options(), lines.say)
