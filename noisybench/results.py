"""What a run measured, epoch by epoch and at its end, and where it was made."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Epoch:
    """What one epoch measured.  Accuracies are fractions from 0 to 1.

    clean_val_accuracy: on the validation images that have a true label, with that, which decides nothing;
    None in runs of noisybench 0.1.
    softmax_correct, softmax_wrong: mean softmax of the given label over the correctly and over the
    wrongly labelled training samples (Figure 1c), gathered from the epoch's own training batches: of
    the samples that are kept, augmented, while the weights move.  None where there was no such sample.
    """

    epoch: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    clean_val_accuracy: float | None
    test_accuracy: float
    lr: float
    n_kept: int
    softmax_correct: float | None
    softmax_wrong: float | None
    seconds: float


@dataclass(frozen=True)
class Pruning:
    """What one pruning step did, after `epoch` epochs, by the network of epoch `model_epoch`.

    precision: of the dropped samples, the fraction with a wrong label; recall: of the wrong labels,
    the fraction dropped.  None where there was nothing to take a fraction of.  seconds: what it took.
    """

    epoch: int
    model_epoch: int
    n_kept: int
    n_dropped: int
    precision: float | None
    recall: float | None
    seconds: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class Result:
    """What a run measured.  best_epoch: the earliest of highest noisy-validation accuracy (Table 1);
    last_test_accuracy: that of the last epoch (Table 2).  n_kept: of wang2018, which drops no samples,
    those that count as clean."""

    best_epoch: int
    val_accuracy: float
    test_accuracy: float
    last_test_accuracy: float
    n_train: int
    n_kept: int
    seconds: float


@dataclass(frozen=True)
class Provenance:
    """Where and with what a run was made: recorded beside it, no part of its identity.

    computed_in: "fp32" or "bf16", by the `precision` of the Config or, where that is "auto", by the hardware.
    labels_sha256: of the noisy labels of all training images; commit: of noisybench's own checkout;
    began: what tells the process from a later one of its number, where the system does; cpu: the
    instructions that torch computes with on the CPU, such as "AVX2".  device and cpu name the earlier ones
    too ("cpu (2 threads), then cpu (1 threads)") where a run was resumed elsewhere.
    """

    device: str
    computed_in: str
    noisybench: str
    torch: str
    commit: str | None
    labels_sha256: str
    host: str
    pid: int
    began: str = ""
    cpu: str = ""
