"""The figures of a multi-label evaluation on the screen."""

import typer

from scenerec.json_object import JsonObject

_LISTED = 12


def print_labels(result: JsonObject) -> None:
    """Prints the figures of one model or of two, and those of the hardest labels of one."""
    models = [each for each in (result["evaluation"], result["other"]) if each]
    set_ = result["data"]
    typer.echo(f"{models[0]['samples']} of {set_['samples']} images with {set_['classes']} labels, {set_['url']}")
    for letter, model in zip("AB", models, strict=False):
        typer.echo(f"{letter}: {model['predictor']}" if len(models) > 1 else model["predictor"])
    typer.echo()
    shares = {"mAP": "map", "F1 micro": "f1_micro", "F1 macro": "f1_macro", "  at best thresholds": "best_f1_macro"}
    rows = [("", list("AB"))] if len(models) > 1 else []
    rows += [(name, [_percent(model[key]) for model in models]) for name, key in shares.items()]
    rows.append(("labels an image", [f"{model['labels_per_sample']:.2f}" for model in models]))
    rows.append(("  given", [f"{model['given_per_sample']:.2f}" for model in models]))
    rows.append(("loss", [f"{model['loss']:.4f}" for model in models]))
    rows.append(("images/s", [f"{model['images_per_s']:.1f}" for model in models]))
    for name, cells in rows:
        typer.echo(f"{name:<21}" + "".join(f"{cell:>12}" for cell in cells))
    if len(models) == 1:
        _print_hardest(models[0])


def _print_hardest(model: JsonObject) -> None:
    present = [each for each in model["classes"] if each["average_precision"] is not None]
    hardest = sorted(present, key=lambda each: each["average_precision"])[:_LISTED]
    typer.echo(f"\nhardest labels{'AP':>7}{'threshold':>12}{'precision':>12}{'recall':>12}{'best threshold':>19}")
    for each in hardest:
        typer.echo(
            f"{_percent(each['average_precision']):>21}{each['threshold']:>12.3f}{_percent(each['precision']):>12}"
            f"{_percent(each['recall']):>12}{each['best_threshold']:>19.3f}  {each['name']} ({each['samples']})"
        )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"
