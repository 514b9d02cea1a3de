"""Ten crops at the end of a training, where its config asks for them: its best checkpoint, on the cluster."""

from jobs.evaluate import evaluate_on_cluster
from jobs.log import say
from scenerec.config.train import TrainConfig
from scenerec.errors import ScenerecError
from scenerec.inference.evaluation.request import EvaluationRequest, Subject, run_output
from scenerec.job_log import Note
from scenerec.json_object import JsonObject


def evaluate_crops(config: TrainConfig) -> JsonObject | None:
    """What the best checkpoint of a finished run finds by `data.eval_crops` of each image, and by the centre alone.

    All single figures of its evaluation, and the address of the whole. None where it could not be evaluated, which is
    said: the training itself is done.
    """
    crops, scale = config.data.eval_crops, config.scale
    request = EvaluationRequest(
        subject=Subject(target=config.run_url, framework=config.framework),
        data=config.data.val,
        crops=crops,
        threads=scale.cpus_per_worker,
        workers=scale.max_workers,
        gpus_per_worker=scale.gpus_per_worker,
    )
    try:
        request = request.model_copy(update={"output": run_output(request)})
        found = evaluate_on_cluster(request).evaluations[0]
    except ScenerecError as error:
        again = f"`scenerec evaluate {config.run_url} --crops {crops}` tries it again"
        say(Note(f"the run is finished, but {crops} crops could not be evaluated: {error}; {again}"))
        return None
    figures = {key: value for key, value in vars(found).items() if isinstance(value, int | float | str)}
    return {**figures, "evaluation": request.output}
