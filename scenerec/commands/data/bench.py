"""`scenerec data bench`: how fast this machine feeds images to training."""

from dataclasses import dataclass
from typing import Annotated, Literal

import typer

from cluster.environment import use_store_environment
from scenerec.commands import options
from scenerec.commands.data.packed import Location, print_json
from scenerec.commands.screen.quiet import quiet_frameworks
from scenerec.data.bench import FRAMEWORKS, Timing, Verdict, judge, measure
from scenerec.data.packed_set import open_set
from scenerec.data.pool import default_processes

app = typer.Typer()


@dataclass(frozen=True)
class BenchResult:
    """What --json prints."""

    url: str
    image_size: int
    cores: int
    """Cores that this process may use."""
    timings: list[Timing]
    verdicts: list[Verdict]


@app.command()
def bench(
    data: Location,
    image_size: Annotated[int, typer.Option(min=16, max=1024, help="Side of the crops, in pixels.")] = 224,
    threads: Annotated[
        list[int],
        typer.Option("--threads", "-t", min=1, help="Threads; may be repeated.", show_default="1, 2, 4 to all cores"),
    ] = [],  # noqa: B006 - typer copies it
    seconds: Annotated[float, typer.Option(min=0.1, help="Time for each line of the table.")] = 2.0,
    framework: Annotated[
        Literal["torch", "tensorflow"] | None, typer.Option(help="Make batches of one only.", show_default="both")
    ] = None,
    gpu: Annotated[
        float, typer.Option("--gpu", min=1, metavar="IMAGES/S", help="What a GPU trains, to count the cores it needs.")
    ] = 2500,
    as_json: options.Json = False,
) -> None:
    """Time fetching, decoding, augmenting and batching a packed set on this machine, and say what limits.

    Each stage is timed alone, then all together as a training run has them. CPU-S is a second of a core: images per
    CPU-second tell how many cores a GPU needs, also on a machine that others use.

    Examples:

        scenerec data bench s3://scenes/places365/train

        scenerec data bench packed/train --image-size 160 --threads 8 --gpu 4000
    """
    use_store_environment()
    packed = open_set(options.location("DATA", data))
    cores = default_processes()
    counts = threads or [count for count in (1, 2, 4, 8, 16, 32, 64) if count < cores] + [cores]
    frameworks = (framework,) if framework else FRAMEWORKS
    timings: list[Timing] = []
    typer.echo("STAGE                 THREADS  IMAGES/S  IMAGES/CPU-S     MB/S")
    with quiet_frameworks():
        for timing in measure(packed, image_size, counts, seconds, frameworks):
            timings.append(timing)
            _print_row(timing)
    verdicts = [judge(timings, name, gpu) for name in frameworks]
    for verdict in verdicts:
        typer.echo(
            f"{verdict.framework}: one core feeds {verdict.images_per_core_s:,.0f} images/s at {image_size} px; "
            f"a GPU that trains {gpu:,.0f} images/s needs {verdict.cores_per_gpu} core(s)\n"
            f"  what limits here: {verdict.limit}"
        )
    if as_json:
        print_json(BenchResult(packed.url, image_size, cores, timings, verdicts))


def _print_row(timing: Timing) -> None:
    typer.echo(
        f"{timing.stage:20}  {timing.threads:7}  {timing.images_per_s:8,.0f}  "
        f"{timing.images_per_cpu_s:12,.0f}  {timing.encoded_mb_per_s:7,.1f}"
    )
