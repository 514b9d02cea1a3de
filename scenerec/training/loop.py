"""The training loop: one story for both frameworks. Runs bare or under Ray; knows neither."""

import math
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict
from typing import Generic

from scenerec.checkpoint import Checkpoint, CheckpointWriter, RunState, checkpoint_name, load_checkpoint
from scenerec.data.stream import Cursor
from scenerec.epoch_metrics import EpochMetrics
from scenerec.errors import CheckpointError, ScenerecError, StorageError
from scenerec.job_log import EpochSummary, Event, Note, Progress
from scenerec.json_object import JsonObject
from scenerec.step_metrics import StepMetrics
from scenerec.training.data_wait import MeasuredBatches
from scenerec.training.learner import Batch, Learner, TrainingJob
from scenerec.training.metrics_log import MetricsLog, line_interval
from scenerec.training.node_time import Start
from scenerec.training.pace import Pace
from scenerec.training.place import Place
from scenerec.training.preemption import PreemptionWatch, never
from scenerec.training.run_folder import BestLabels, RunFolder, check_identity, run_identity
from scenerec.training.sample_log import GlobalBatch, SampleLog, discard_samples
from scenerec.training.schedules import learning_rate
from scenerec.training.sums import Sums
from scenerec.training.task import VAL_LOSS, Counts
from scenerec.world import World


class DivergedError(ScenerecError):
    """The loss is no longer a number."""


def train(
    job: TrainingJob,
    world: World,
    learner: Learner[Batch],
    say: Callable[[Event], None],
    report: Callable[[EpochMetrics], None],
    is_preempted: Callable[[], bool] = never,
) -> JsonObject:
    """Trains to the last epoch, from the run's newest checkpoint where there is one; returns what result.json holds.

    Called on all ranks; rank 0 writes the run's folder and speaks through `say`, all ranks call `report` with an
    epoch's metrics. Where `is_preempted` says that this rank's machine is about to be taken away, a checkpoint is
    written within seconds, and the run goes on. Raises ScenerecError for what is the user's to mend.
    """
    folder = RunFolder(job.config.run_url, job.config.data.patience)
    with CheckpointWriter(folder.checkpoints, job.config.checkpoint.keep) as writer:
        watch = PreemptionWatch(is_preempted, world, learner.sum_over_ranks)
        run = _Run(job, world, learner, folder, writer, say, watch)
        place = run.resume()
        validation = learner.validation_batches()
        with closing(learner.training_batches(place.cursor)) as stream:
            batches = MeasuredBatches(stream, job.train.fetched)
            for epoch in range(place.cursor.epoch, job.config.optimize.epochs):
                run.train_epoch(place, epoch, batches)
                run.estimate_statistics(epoch + 1, 0)
                metrics = run.finish_epoch(place, epoch, learner.evaluate(validation))
                report(metrics)
        return run.finish(place)


class _Run(Generic[Batch]):
    """The steps of the story, and what they share."""

    def __init__(
        self,
        job: TrainingJob,
        world: World,
        learner: Learner[Batch],
        folder: RunFolder,
        writer: CheckpointWriter,
        say: Callable[[Event], None],
        watch: PreemptionWatch,
    ) -> None:
        self.job, self.world, self.learner, self.folder, self.writer = job, world, learner, folder, writer
        self.say = say if world.is_chief else _silence
        self.watch = watch
        plan, fingerprint = job.plan, job.train.manifest.fingerprint
        self.identity = run_identity(job.config, plan.lanes, plan.classes, fingerprint, plan.teacher)
        self.sample_log = SampleLog(self.folder.samples, world) if job.config.data.log_samples else None
        self.steps_per_epoch = job.plan.steps_per_epoch
        self.pace = Pace(self.steps_per_epoch)
        self.said_every = line_interval("auto", self.steps_per_epoch)
        self.logged_every = line_interval(job.config.track.every_steps, self.steps_per_epoch)
        self.metrics_log: MetricsLog | None = None  # of rank 0, from the first step on
        self.last_lr = 0.0

    def resume(self) -> Place:
        """The place of the newest checkpoint, which is loaded; the beginning where there is none."""
        newest = self.folder.latest_checkpoint() if self.world.is_chief else None
        # Rank 0's answer counts: a listing on another rank may differ while an upload ends.
        found = self.learner.agree(int(newest.removeprefix("step-")) + 1 if newest else 0)
        if not found:
            self._begin(0, 0.0, [])
            weights = self.job.plan.weights
            self.say(Note(f"training from the beginning on {self.world.size} worker(s); weights: {weights}"))
            return Place()
        checkpoint = load_checkpoint(self.folder.checkpoints, checkpoint_name(found - 1))
        run = checkpoint.run
        check_identity(self.job.config.run_url, run.identity, self.identity)
        self._begin(run.global_step, run.saved_s, run.history)
        self.learner.load_state(checkpoint.learner)
        switched = f", written by {run.framework}" if run.framework != self.job.config.framework else ""
        self.say(
            Note(
                f"resumed from step {run.global_step} (epoch {run.epoch + 1}, step {run.step}) "
                f"on {self.world.size} worker(s){switched}"
            )
        )
        return Place.of(run)

    def _begin(self, global_step: int, saved_s: float, history: list[EpochMetrics]) -> None:
        """Readies the folder for the steps from `global_step` on, whose checkpoint was made at `saved_s`.

        Its config is that of the last submission: `scenerec submit --resume` goes on with it. What an earlier attempt
        has logged of these steps goes.
        """
        if self.world.is_chief:
            self.folder.write_config(self.job.config)
            now_s = round(time.time(), 3)
            self.folder.add_start(
                Start(time_s=now_s, workers=self.world.size, global_step=global_step, saved_s=saved_s)
            )
            discard_samples(self.folder.samples, global_step)
            self.metrics_log = MetricsLog(self._earlier_lines(), history, global_step)

    def _earlier_lines(self) -> list[StepMetrics]:
        try:
            return self.folder.read_steps()
        except CheckpointError as error:  # it is no reason not to go on
            self.say(Note(f"{error}: it begins anew"))
            return []

    def train_epoch(self, place: Place, epoch: int, batches: MeasuredBatches[Batch]) -> None:
        """The steps of an epoch that are still to do, with progress lines and checkpoints."""
        first = place.cursor.step if epoch == place.cursor.epoch else 0
        since_said, pending, started = Sums(), 0, time.perf_counter()
        for step in range(first, self.steps_per_epoch):
            global_step = epoch * self.steps_per_epoch + step
            self.last_lr = learning_rate(global_step, self.steps_per_epoch, self.job.config.optimize, place.plateau)
            batch = next(batches)
            self.learner.train_step(batch, self.last_lr)
            if self.sample_log:
                self.sample_log.add(global_step, GlobalBatch(epoch, step, batch.names))
            pending += 1
            done = step + 1
            save = (global_step + 1) % self.job.config.checkpoint.every_steps == 0 and done < self.steps_per_epoch
            leaves = done < self.steps_per_epoch and self.watch.is_new()
            is_last = done == self.steps_per_epoch
            is_logged = is_last or done % self.logged_every == 0
            is_said = is_last or save or leaves or done % self.said_every == 0
            if is_logged or is_said:
                loss = self._finite(self.learner.take_loss(), epoch, step)
                seconds, use = time.perf_counter() - started, batches.take()
                newest = Sums(use.wait_s, use.fetched_bytes, loss, pending, seconds)
                place.sums, place.since_line, since_said = (
                    sums + newest for sums in (place.sums, place.since_line, since_said)
                )
                pending, started = 0, time.perf_counter()
            if is_logged:
                self._log_steps(place, epoch, done)
            if is_said:
                self._say_progress(place, epoch, done, since_said)
                since_said = Sums()
            if save:
                self.estimate_statistics(epoch, done)
            if save or leaves:
                self._save(place, Cursor(epoch, done))
            if leaves:
                self.writer.wait()
                self.say(Note(f"checkpoint of step {global_step + 1} is written: a machine of this run goes away"))

    def estimate_statistics(self, epoch: int, step: int) -> None:
        """Before a validation or checkpoint there: BatchNorm's statistics, while the run is too short for averages."""
        sample = self.job.plan.precise_batchnorm
        if sample and sample.is_due(epoch * self.steps_per_epoch + step):
            self.learner.estimate_statistics(sample)

    def finish_epoch(self, place: Place, epoch: int, counts: Counts) -> EpochMetrics:
        """Adds the epoch to the history and saves a checkpoint; returns the epoch's metrics."""
        optimize = self.job.config.optimize
        use = place.sums.over_ranks(self.world, self.learner.sum_over_ranks)
        metrics = EpochMetrics(
            epoch=epoch + 1,
            global_step=(epoch + 1) * self.steps_per_epoch,
            train_loss=place.sums.mean_loss,
            validation=counts.metrics(),
            images_per_s=place.sums.steps_per_s * optimize.global_batch_size,
            lr=self.last_lr,
            data_wait=use.wait_s / place.sums.seconds,
            fetched_bytes_per_s=use.fetched_bytes / place.sums.seconds,
            workers=self.world.size,
            framework=self.job.config.framework,
            time_s=round(time.time(), 3),
        )
        place.history.append(metrics)
        place.plateau = place.plateau.after_epoch(metrics.validation[VAL_LOSS.key], optimize)
        place.sums = Sums()
        if self.metrics_log:
            self.metrics_log.add(metrics)
        self.say(EpochSummary.of(metrics, optimize.epochs))
        self._save(place, Cursor(epoch + 1, 0), counts)
        return metrics

    def finish(self, place: Place) -> JsonObject:
        """Waits for the last checkpoint, writes result.json and returns its content."""
        self.writer.wait()
        last, best = place.history[-1], self.job.task.best_epoch(place.history)
        assert best is not None
        result = {
            "run": self.job.config.run_url,
            "framework": self.job.config.framework,
            "arch": self.job.config.model.arch,
            "best": best.as_dict(),
            "last": last.as_dict(),
            "best_checkpoint": self._checkpoint_url(best),
            "last_checkpoint": self._checkpoint_url(last),
        }
        if self.world.is_chief:
            self.folder.write_result(result)
        return result

    def _save(self, place: Place, cursor: Cursor, counts: Counts | None = None) -> None:
        """Saves a checkpoint in the background; at the end of an epoch with what its validation has counted."""
        if self.sample_log:
            self.sample_log.write()
            self.learner.agree(0)  # waits for all ranks: no checkpoint is without the log of its steps
        state = self.learner.state()  # on all ranks: gathering it is collective
        if not self.metrics_log:
            return
        history = list(place.history)
        run = RunState(
            epoch=cursor.epoch,
            step=cursor.step,
            global_step=cursor.epoch * self.steps_per_epoch + cursor.step,
            identity=self.identity,
            plateau=asdict(place.plateau),
            history=history,
            partial=asdict(place.sums),
            config=self.job.config.model_dump(mode="json"),
            framework=self.job.config.framework,
            labels=self.job.classes,
            saved_s=round(time.time(), 3),
            since_line=asdict(place.since_line),
            origin=asdict(self.job.plan.origin) if self.job.plan.origin else None,
        )
        is_best = counts is not None and self._is_best(history)
        best = self._described(history[-1]) if is_best else None
        write_lines = self.metrics_log.writer(self.folder)

        def before() -> None:
            write_lines()
            if counts and is_best:
                self._write_labels(history[-1], counts)

        after = (lambda: self.folder.write_metrics(history)) if counts else None
        self.writer.save(Checkpoint(run, state), best, before, after)

    def _write_labels(self, best: EpochMetrics, counts: Counts) -> None:
        """Writes labels.json of the best epoch, by what its validation has counted."""
        if labels := counts.label_figures(self.job.classes):
            self.folder.write_labels(BestLabels(epoch=best.epoch, labels=labels))

    def _is_best(self, history: list[EpochMetrics]) -> bool:
        """Whether the newest epoch is the best so far."""
        return self.job.task.best_epoch(history) is history[-1]

    def _described(self, epoch: EpochMetrics) -> dict[str, float]:
        """What best.json says of the best epoch."""
        key = self.job.task.best.key
        return {key: epoch.validation[key], "epoch": epoch.epoch}

    def _log_steps(self, place: Place, epoch: int, done: int) -> None:
        """A line of steps.jsonl, of the steps since the one before."""
        newest, place.since_line = place.since_line, Sums()
        line = StepMetrics(
            epoch=epoch + 1,
            step=done,
            steps=self.steps_per_epoch,
            global_step=epoch * self.steps_per_epoch + done,
            loss=newest.mean_loss,
            lr=self.last_lr,
            images_per_s=newest.steps_per_s * self.job.config.optimize.global_batch_size,
            data_wait=newest.wait_share,
            time_s=round(time.time(), 3),
        )
        if self.metrics_log:
            self.metrics_log.add(line)

    def _say_progress(self, place: Place, epoch: int, done: int, newest: Sums) -> None:
        optimize = self.job.config.optimize
        steps_done = epoch * self.steps_per_epoch + done
        step_s = self.pace.seconds_a_step(steps_done, time.perf_counter(), at_first_s=1 / place.sums.steps_per_s)
        self.say(
            Progress(
                epoch=epoch + 1,
                epochs=optimize.epochs,
                step=done,
                steps=self.steps_per_epoch,
                images_per_s=newest.steps_per_s * optimize.global_batch_size,
                loss=newest.mean_loss,
                lr=self.last_lr,
                eta_s=(optimize.epochs * self.steps_per_epoch - steps_done) * step_s,
                data_wait=newest.wait_share,
                checkpoint_s=self.writer.took_s,
            )
        )

    def _finite(self, loss: float, epoch: int, step: int) -> float:
        if math.isfinite(loss):
            return loss
        if self.metrics_log:
            with suppress(StorageError):  # the curve up to here
                self.writer.wait()
                self.metrics_log.writer(self.folder)()
        raise DivergedError(
            f"the loss is {loss} at epoch {epoch + 1}, step {step + 1}: lower optimize.lr, lengthen "
            "optimize.warmup_epochs, set optimize.clip_grad_norm, or use precision fp32"
        )

    def _checkpoint_url(self, epoch: EpochMetrics) -> str:
        return f"{self.folder.checkpoints.url}/{checkpoint_name(epoch.global_step)}"


def _silence(_: Event) -> None:
    """Ranks other than 0 say nothing."""
