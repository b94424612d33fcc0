"""Carry out one run: load its data, train, and store what was measured and how the run ended."""

import subprocess
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import noisybench
from noisybench import datasets
from noisybench.config import Config, first_stage
from noisybench.errors import InvalidValue, RunCompleted, RunFailed, StoreError
from noisybench.inputs import Inputs, corrupt
from noisybench.labels.drawing import Corruption
from noisybench.results import Provenance
from noisybench.split import Split, split
from noisybench.store import Estimate, Row, Store
from noisybench.store.host import this_process
from noisybench.sweeps.observer import RunObserver
from noisybench.training.gpu_options import GpuOptions

if TYPE_CHECKING:
    import torch

    from noisybench.datasets import Dataset
    from noisybench.pretrained import Pretrained
    from noisybench.training.loop import Training
    from noisybench.training.resume import Resume


@dataclass(frozen=True)
class Job:
    """A run to carry out.

    again: although the store has the run completed, as a further attempt that counts from its completion on.
    for_estimate: for its estimate of the transition matrix, which completed runs of noisybench 0.1 lack.
    inputs: the files that the config names by hash.  gpu: how the run uses a GPU.
    """

    config: Config
    again: bool = False
    for_estimate: bool = False
    inputs: Inputs = Inputs()
    gpu: GpuOptions = GpuOptions()


@dataclass(frozen=True)
class RunData:
    """The data of one run.

    dataset: with its open-set images in place.  pretrained: initial weights, if a file gives them.
    """

    dataset: "Dataset"
    split: Split
    corruption: Corruption
    pretrained: "Pretrained | None" = None


def run_data(config: Config, inputs: Inputs) -> RunData:
    """Load the data set, draw or take the noisy labels, and split.  Raises InputError."""
    files = {"labels": inputs.labels, "keep": inputs.keep, "pretrained": inputs.pretrained}
    for name, file in files.items():
        if getattr(config, name) != ("" if file is None else file.digest):
            raise InvalidValue(f"{name} is '{getattr(config, name)}', but that is not the file given.")
    dataset = datasets.load(config.dataset)
    if inputs.labels is not None:
        inputs.labels.fit(dataset)
        corruption = inputs.labels.corruption
    else:
        corruption = corrupt(config, dataset)
    if inputs.keep is not None:
        inputs.keep.fit(dataset, corruption.sha256)
    dataset = corruption.on(dataset)
    keep = None if inputs.keep is None else inputs.keep.keep
    return RunData(dataset, split(config, dataset, corruption.given, keep), corruption, inputs.pretrained)


def check_memory(config: Config, data: RunData, device: "torch.device") -> None:
    """Raise InvalidValue where the network or the images do not fit into the free memory of the device."""
    from noisybench.training.memory import check_network, check_pixels

    check_network(config, data.dataset, device)
    check_pixels(config, data.dataset, data.split, device)


def run(
    job: Job, store: Store, device: "torch.device", observer: RunObserver, data: RunData | None = None
) -> Row:
    """Carry out a run, unless the store has it completed already, and return its row.

    A run that was killed goes on from the state that it last wrote.  However the run ends, the store says so.
    data: of `run_data`, where the caller has loaded and checked it (`check_memory`) already.
    Raises InputError, RunBusy, and RunFailed.
    """
    from noisybench.training.resume import Resume

    config, gpu, force = job.config, job.gpu, forced(job, store)
    done = store.completed(config.identity)
    if done is not None and not force:
        # A process that was killed just after its run had completed leaves the state of the run.
        Resume.remove(store.folder(done["id"]))
        return done
    if data is None:
        data = run_data(config, job.inputs)
        check_memory(config, data, device)

    from noisybench.training.checkpoints import Checkpoint
    from noisybench.training.device import choose_precision, set_up
    from noisybench.training.loop import Training

    precision = choose_precision(config.precision, device)
    set_up(device, precision, gpu.deterministic)
    try:
        name = store.begin(config, _provenance(device, precision, data.corruption.sha256), again=force)
    except RunCompleted:
        # Another process has completed it meanwhile.
        done = store.completed(config.identity)
        assert done is not None
        return done
    observer.start(config)
    try:
        stage = first_stage(config)
        estimate = None if stage is None else _estimated(stage, store)
        # The matrix that the labels were drawn by, if any.
        actual = data.corruption.transition if config.label_noise.has_transition else None
        transition = actual if estimate is None else np.array(estimate.matrix)
        training = Training(
            config,
            data.dataset,
            data.split,
            transition,
            device,
            precision,
            job.for_estimate,
            gpu,
            observer.tell,
            data.pretrained,
        )
        resume = Resume(store.folder(name), config.identity, precision, store.sync)
        _resume(training, resume, store, name)
        observer.resume(training.epochs)
        for event in training.run(lambda epoch: resume.offer(training, epoch)):
            store.add(name, event)
            observer.show(event)
        best = training.best
        Checkpoint.of(
            config, best.epoch, best.state, training.mean, data.split, data.corruption.open_set
        ).write(store.folder(name))
        own = training.estimated_transition()
        estimate = estimate if own is None else Estimate(name, own.tolist())
        if estimate is not None:
            store.add_transition(name, estimate, None if actual is None else actual.tolist())
        store.complete(name, training.result(), training.ended_early)
        Resume.remove(store.folder(name))
    except (RuntimeError, ValueError, IndexError) as error:
        # Errors of torch, as for a batch that does not fit the network or the device.
        reason = in_words(error)
        _end(store, name, observer, RunFailed(reason))
        raise RunFailed(f"Run {name} failed: {reason}") from error
    except BaseException as error:
        _end(store, name, observer, error)
        raise
    observer.end()
    return store.find(name)


def forced(job: Job, store: Store) -> bool:
    """Whether to train a completed run again: another process may have stored what was missing."""
    identity = job.config.identity
    return job.again or (
        job.for_estimate and store.completed(identity) is not None and store.estimate(identity) is None
    )


def _resume(training: "Training", resume: "Resume", store: Store, name: str) -> None:
    """Restore the state that the run last wrote, if it agrees with the store; else delete what the run
    measured, to start again."""
    from noisybench.training.resume import restore

    saved = resume.read(training)
    if saved is not None:
        epoch, state = saved
        epochs, prunings = store.rewind(name, epoch)
        if [event.epoch for event in epochs] == list(range(1, epoch + 1)):
            restore(training, state, epochs, prunings)
            return
    store.rewind(name, 0)


def _estimated(stage: Config, store: Store) -> Estimate:
    """The matrix that the first stage of a run estimated.  Raises RunFailed if it did not complete."""
    estimate = store.estimate(stage.identity)
    if estimate is None:
        raise RunFailed(f"The {stage.loss} run that estimates the transition matrix has not completed.")
    return estimate


def in_words(error: Exception) -> str:
    """Why training failed, and what to lower where a GPU has too little memory."""
    import torch

    if not isinstance(error, torch.OutOfMemoryError):
        return str(error)
    return (
        "the GPU has too little memory. Train fewer runs at once (--jobs; with --executor ray, a larger"
        " --gpus-per-run), or lower --batch-size or the width of the network."
    )


def _end(store: Store, name: str, observer: RunObserver, error: BaseException) -> None:
    """Store and show how a run ended."""
    status = "failed" if isinstance(error, Exception) else "interrupted"
    reason = str(error) or type(error).__name__
    observer.end(f"{status}: {reason}")
    # If this cannot be stored either, the user must see the first error.
    with suppress(StoreError):
        store.end(name, status, reason)


def _provenance(device: "torch.device", precision: str, labels: str) -> Provenance:
    import torch

    from noisybench.training.device import device_label

    return Provenance(
        device=device_label(device),
        computed_in=precision,
        noisybench=noisybench.__version__,
        torch=torch.__version__,
        commit=_commit(),
        labels_sha256=labels,
        cpu=torch.backends.cpu.get_cpu_capability(),
        **this_process(),
    )


@cache
def _commit() -> str | None:
    """The commit of noisybench's own checkout, with "+" if its files differ; None if it has none.

    Asked once: the code in memory stays what it was when the checkout moves on.
    """
    here = Path(noisybench.__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()

    try:
        # An installed copy may lie inside somebody else's repository: ours tracks this very file.
        git("ls-files", "--error-unmatch", Path(noisybench.__file__).name)
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return None
