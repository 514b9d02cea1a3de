"""What a probe came to, as a table of its backbones."""

from rich.console import Console

from scenerec.json_object import JsonObject

_TITLES = ("BACKBONE", "LINEAR TOP-1", "TOP-5", "K-NN TOP-1", "FEATURES", "FEATURE S", "PARAMETERS", "GFLOPS")


def show_probe_result(result: JsonObject, console: Console) -> None:
    """Shows the backbones, the best first, and where the best head is."""
    rows = [_TITLES, *map(_row, result["backbones"])]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *numbers in rows:
        cells = (cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True))
        console.print("  ".join((name.ljust(widths[0]), *cells)), markup=False, highlight=False, soft_wrap=True)
    facts = {
        "": result["comparison"],
        "features": f"{result['computed_images']} images computed in {result['compute_seconds']:.1f} s",
        "heads": f"fitted in {result['fit_seconds']:.1f} s",
        "best checkpoint": result["best_checkpoint"],
        "report": result["report"],
        "next": f"scenerec export {result['run']}",
    }
    for what, value in facts.items():
        if value:
            line = f"{what:<15}  {value}" if what else value
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def _row(each: JsonObject) -> tuple[str, ...]:
    knn = each["knn_top1"]
    return (
        each["name"],
        f"{each['linear_top1']:.2%}",
        f"{each['linear_top5']:.2%}",
        "-" if knn is None else f"{knn:.2%}",
        f"{each['features']}",
        f"{each['feature_seconds']:.1f}",
        f"{each['parameters'] / 1e6:.1f}M",
        f"{each['gflops']:.3g}",
    )
