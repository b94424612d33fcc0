"""A search for the setting of highest noisy-validation accuracy, with Optuna's sampler and pruner.

The store is the only memory of the search: every run in it that lies in the space counts, and Optuna's study
is built from these runs for each proposal.  So a killed search can continue, and the searches of several
machines are combined by merging their stores.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from noisybench.config import Config
from noisybench.datasets.dataset import DatasetName
from noisybench.errors import InputError
from noisybench.registry import DATASETS, METHODS
from noisybench.results import Epoch, Pruning
from noisybench.seeding import generator
from noisybench.store import Row
from noisybench.sweeps.observer import RunObserver
from noisybench.sweeps.parallel import Parallel, Worker
from noisybench.sweeps.run import Job
from noisybench.sweeps.shards import Shard
from noisybench.sweeps.space import Setting, Space
from noisybench.sweeps.sweep import plan

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

# The beginning of the reason of a run that was stopped because others were better.  The run is interrupted:
# no table averages it, and `train` can continue it.
STOPPED = "tune stopped the run"

# A run is not stopped before this fraction of its epochs, nor before this number of runs has completed.
WARM_UP, COMPLETED_FIRST = 1 / 3, 5
# How often to ask for another setting if the proposed one is known.
LOOKS = 100

WHOLE = Shard(1, 1)


@dataclass(frozen=True)
class Trial:
    """A setting and its runs in the store, by seed.

    seeds: of the runs that it needs to be complete.
    """

    setting: Setting
    seeds: Sequence[int]
    rows: dict[int, Row] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """completed, stopped or failed; running, if a process trains one of its runs; else open."""
        states = [row["status"] for row in self.rows.values()]
        if "failed" in states:
            return "failed"
        if any(is_stopped(row) for row in self.rows.values()):
            return "stopped"
        if len(states) == len(self.seeds) and set(states) == {"completed"}:
            return "completed"
        return "running" if "running" in states else "open"

    @property
    def accuracy(self) -> float:
        """The noisy-validation accuracy of a completed trial: the mean over its seeds."""
        return fmean(row["val_accuracy"] for row in self.rows.values())

    @property
    def n_validation(self) -> int:
        """How many validation images each run has: about as many, where a part of a data set is used that
        has a validation part of its own."""
        row = next(iter(self.rows.values()))
        info = DATASETS[DatasetName.read(row["dataset"]).stem].metadata
        share = info.n_validation / info.counts[0] if info.n_validation else row["validation"]
        return round(share * (row["train_size"] or info.counts[0]))

    @property
    def standard_error(self) -> float:
        """Of the accuracy, as that of a fraction of so many images at each seed."""
        return math.sqrt(self.accuracy * (1 - self.accuracy) / self.n_validation / len(self.rows))


def is_stopped(row: Row) -> bool:
    """Whether a search stopped this run before its end."""
    return row["status"] == "interrupted" and str(row["reason"]).startswith(STOPPED)


class Search(Parallel):
    """A sweep that chooses each run by the measurements of the earlier ones.

    n_trials: the number of settings, including those in the store.  seeds: of the runs of each.
    shard: of several searches of one space, each into a store of its own.  The other arguments: see
    `Parallel`.
    """

    def __init__(
        self, space: Space, n_trials: int, seeds: Sequence[int], shard: Shard = WHOLE, **sweep: Any
    ) -> None:
        super().__init__(**sweep)
        self.space, self.n_trials, self.seeds, self.shard = space, n_trials, seeds, shard
        self.asked: list[Setting] = []
        self.curves: dict[int, Study] = {}
        self.stopped: dict[str, int] = {}
        self.known: dict[str, Setting | None] = {}
        self.trials: list[Trial] = []
        self.read()

    def read(self) -> list[Trial]:
        """The trials in the store and the settings that were proposed, the oldest first."""
        trials: list[Trial] = []
        for row in self._rows():
            trial = _of_setting(self.known[row["identity"]] or {}, trials, self.seeds)
            trial.rows[row["seed"]] = row
        for setting in self.asked:
            _of_setting(setting, trials, self.seeds)
        self.trials = trials
        return trials

    def search(self) -> list[Trial]:
        """Carry out runs until there are `n_trials` trials, and return them.  An interrupted search
        interrupts its runs, which keep their state."""
        self._refill()
        self.sweep(self.waiting)
        return self.read()

    def _rows(self) -> list[Row]:
        """The rows of the runs in the space, in the order in which they began."""
        first = self.space.config(self.space.first, self.seeds[0])
        rows = self.store.query(
            "SELECT * FROM results WHERE dataset = ? AND noise = ? AND rate = ? ORDER BY started, id",
            [first.dataset, first.noise, first.rate],
        )
        for row in rows:
            if row["identity"] not in self.known:
                self.known[row["identity"]] = self._setting(row)
        return [row for row in rows if row["seed"] in self.seeds and self.known[row["identity"]] is not None]

    def _setting(self, row: Row) -> Setting | None:
        try:
            METHODS.bind(row["loss"])
            return self.space.setting(Config.from_row(row))
        except InputError:  # of a newer noisybench, or with a file that is not given here
            return None

    # Asking

    def _refill(self) -> None:
        """Queue the runs of further trials while there is room for them."""
        self.read()
        self.curves = {}
        while len(self.waiting) + len(self.workers) < self.n_jobs:
            setting = self.next_setting()
            if setting is None:
                return
            self.asked.append(setting)
            taken = {job.config.identity for job in [*self.waiting, *(w.job for w in self.workers)]}
            for seed in self.seeds:
                config, inputs = self.space.run(setting, seed)
                jobs = plan([config], self.store)
                self.waiting += [
                    replace(job, inputs=inputs) for job in jobs if job.config.identity not in taken
                ]
            self.read()

    def next_setting(self) -> Setting | None:
        """The setting to train next; None if there are enough.

        This is the setting of a trial that was interrupted or lacks seeds, else a new one.
        """
        for trial in self.trials:
            if trial.state == "open" and trial.setting not in self.asked:
                return trial.setting
        return self._proposed()

    def _proposed(self) -> Setting | None:
        """A new setting; None if there are enough, or the space seems to have no more."""
        import optuna

        n = len(self.trials)
        if n >= self.n_trials:
            return None
        # The trial's number among those of all shards.
        stream = generator(self.seeds[0], "search", n * self.shard.count + self.shard.number - 1)
        axes = self.space.distributions()
        seen = list(map(self._as_trial, self.trials))
        for _ in range(LOOKS):
            sampler = optuna.samplers.TPESampler(seed=int(stream.integers(2**32)))
            proposed = study_of(seen, sampler).ask(axes).params
            setting = {axis.name: axis.rounded(proposed[axis.name]) for axis in self.space.axes}
            if all(setting != trial.setting for trial in self.trials):
                return setting
        return None

    def _as_trial(self, trial: Trial) -> "FrozenTrial":
        """A trial as Optuna's.  A failed trial is a pruned one without a value, which counts as the worst."""
        from optuna.trial import TrialState, create_trial

        state = {"completed": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.PRUNED}
        completed, stopped = trial.state == "completed", trial.state == "stopped"
        return create_trial(
            state=state.get(trial.state, TrialState.RUNNING),
            params=trial.setting,
            distributions=self.space.distributions(),
            value=trial.accuracy if completed else None,
            intermediate_values=self._reached(trial) if stopped else None,
        )

    def _reached(self, trial: Trial) -> dict[int, float]:
        """The highest noisy-validation accuracy of the run that was stopped, at its last epoch."""
        runs = [row["id"] for row in trial.rows.values() if is_stopped(row)]
        epochs = self.store.epochs(("val_accuracy",), runs)
        return {int(epochs["epoch"].max()): float(epochs["val_accuracy"].max())} if len(epochs) else {}

    def importances(self) -> dict[str, float]:
        """The share of each axis in the differences of accuracy, the greatest first (PED-ANOVA, Watanabe et
        al. 2023, Optuna's default); empty where no two completed trials differ."""
        import optuna

        completed = [trial for trial in self.trials if trial.state == "completed"]
        if len({trial.accuracy for trial in completed}) < 2:
            return {}
        study = study_of(list(map(self._as_trial, completed)))
        return optuna.importance.get_param_importances(study)

    # Stopping

    def _start_try(self, job: Job) -> RunObserver:
        return Watch(self, job, super()._start_try(job))

    def offer(self, job: Job, curve: dict[int, float]) -> None:
        """Stop the run of a job if its best epoch so far is worse than the median of the completed runs of
        its seed at this epoch (Optuna's median pruner).  curve: noisy-validation accuracies by epoch."""
        from optuna.pruners import MedianPruner
        from optuna.trial import TrialState, create_trial

        config, epoch = job.config, max(curve)
        if job.for_estimate or config.identity in self.stopped or epoch >= config.epochs:
            return
        pruner = MedianPruner(COMPLETED_FIRST, round(WARM_UP * config.epochs))
        here = create_trial(state=TrialState.RUNNING, intermediate_values=curve)
        if pruner.prune(self._curves(config.seed), here):
            self.stopped[config.identity] = epoch
            for worker in self.workers:
                if worker.job is job:
                    worker.process.terminate()

    def _curves(self, seed: int) -> "Study":
        """The curves of the completed runs of a seed, as a study."""
        from optuna.trial import create_trial

        if seed not in self.curves:
            rows = [trial.rows[seed] for trial in self.trials if seed in trial.rows]
            values = {row["id"]: row["val_accuracy"] for row in rows if row["status"] == "completed"}
            epochs = self.store.epochs(("val_accuracy",), values)
            self.curves[seed] = study_of(
                [
                    create_trial(
                        value=values[run],
                        intermediate_values=dict(zip(of_run["epoch"], of_run["val_accuracy"], strict=True)),
                    )
                    for run, of_run in epochs.groupby("run")
                ]
            )
        return self.curves[seed]

    def _ended(self, worker: Worker) -> None:
        config = worker.job.config
        epoch = self.stopped.get(config.identity)
        if epoch is None or worker.process.exitcode == 0:
            super()._ended(worker)
        else:
            run = self.store.attempts(config.identity)[0]
            # It may have completed just before it was stopped.
            if run["status"] != "completed":
                self.store.rewind(run["id"], epoch)
                reason = f"{STOPPED} after epoch {epoch} of {config.epochs}: others were better"
                self.store.end(run["id"], "interrupted", reason)
            setting = self.space.setting(config)
            self.waiting = [job for job in self.waiting if self.space.setting(job.config) != setting]
        self._refill()


class Watch(RunObserver):
    """Passes on what a run reports, and offers its curve to the search after each epoch."""

    def __init__(self, search: Search, trained: Job, shown: RunObserver) -> None:
        self.search, self.trained, self.shown = search, trained, shown
        self.curve: dict[int, float] = {}

    def on(self, event: str, argument: object) -> None:
        getattr(self.shown, event)(argument)

    def resume(self, epochs: Sequence[Epoch]) -> None:
        self.curve = {epoch.epoch: epoch.val_accuracy for epoch in epochs}
        self.shown.resume(epochs)

    def show(self, event: Epoch | Pruning) -> None:
        self.shown.show(event)
        if isinstance(event, Epoch):
            self.curve[event.epoch] = event.val_accuracy
            self.search.offer(self.trained, self.curve)

    def end(self, failure: str = "") -> None:
        epoch = self.search.stopped.get(self.trained.config.identity)
        stopped = failure and epoch is not None
        self.shown.end(f"stopped after epoch {epoch}: others were better" if stopped else failure)


def study_of(trials: Sequence["FrozenTrial"], sampler: Any = None) -> "Study":
    """Optuna's study of these trials, in memory."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials(trials)
    return study


def _of_setting(setting: Setting, trials: list[Trial], seeds: Sequence[int]) -> Trial:
    """The trial of a setting, a new one if there is none."""
    for trial in trials:
        if trial.setting == setting:
            return trial
    trials.append(Trial(setting, seeds))
    return trials[-1]
