"""`noisybench prune`: write a mask of the samples that the network of a completed run keeps."""

from pathlib import Path
from typing import Annotated

import typer

from noisybench.cli.arguments import DATABASE, AsJson, Code, Database, Device, Overwrite, RunName
from noisybench.cli.console import STDOUT, check_json, in_percent, print_json, say, warn, write
from noisybench.losses.per_sample import K
from noisybench.options import OptionSpec

THRESHOLD = OptionSpec.of(K).option


def prune(
    run: RunName,
    k: Annotated[float, typer.Option("--k", min=0, max=1, help=f"{THRESHOLD.help}.")] = 0.5,
    out: Annotated[
        Path, typer.Option("--out", help="File of the mask, .npz, for `train --keep`; - for stdout.")
    ] = Path("mask.npz"),
    overwrite: Overwrite = False,
    db: Database = DATABASE,
    device: Device = "auto",
    code: Code = None,
    as_json: AsJson = False,
) -> None:
    """Write a mask of the training samples that a run's network keeps.

    Uses the network of the best noisy-validation epoch. The mask covers all training images of the data set;
    precision and recall of the dropped samples are over the images that the run trained on.
    """
    from noisybench.config import load_code
    from noisybench.store import Store
    from noisybench.training.device import check_device, choose_device

    check_device(device)
    check_json(as_json, out)
    store = Store.read(db)
    row = store.find_completed(run)
    load_code(row, code or [], needed=("loss", "model"))

    import torch

    from noisybench.labels.masks import Mask
    from noisybench.methods import Selection
    from noisybench.methods.trunc_lq import confident
    from noisybench.training.checkpoints import Checkpoint
    from noisybench.training.loop import describe

    checkpoint = Checkpoint.read(store.folder(row["id"]), row)
    dataset = checkpoint.dataset()
    logits = checkpoint.logits(dataset.train_images, dataset, choose_device(device)).cpu()
    keep = confident(logits, checkpoint.given, k)
    mask = Mask(
        keep=keep.numpy(),
        source_index=dataset.train_index,
        dataset=dataset.name,
        fingerprint=dataset.fingerprint,
        **{name: row[name] for name in ("noise", "rate", "draws", "seed", "labels_sha256")},
        run=row["id"],
        threshold=k,
    )
    if not mask.keep[checkpoint.train].any():
        warn(f"No training sample has a softmax above k={k:g}: nothing can be trained on this mask.")
    write(out, mask.encode(), overwrite, quiet=True)
    wrong = checkpoint.given != torch.tensor(dataset.train_true)
    trained = checkpoint.train
    pruning = describe(Selection(keep[trained], checkpoint.epoch), wrong[trained], row["epochs"])
    if as_json:
        print_json(
            {
                "run": row["id"],
                "path": str(out),
                "k": k,
                "model_epoch": checkpoint.epoch,
                "n_train": len(trained),
                "n_kept": pruning.n_kept,
                "n_dropped": pruning.n_dropped,
                "precision": pruning.precision,
                "recall": pruning.recall,
                "digest": mask.digest,
            }
        )
        return
    if out in STDOUT:
        return
    say(
        f"Of the {len(trained):,} training samples of run {row['id']}, {pruning.n_kept:,} are kept and"
        f" {pruning.n_dropped:,} dropped (network of epoch {checkpoint.epoch}, k={k:g}).\n"
        f"  precision {in_percent(pruning.precision, 1)} of the dropped have a wrong label\n"
        f"  recall    {in_percent(pruning.recall, 1)} of the wrong labels are dropped\n"
        f"Written to {out}."
    )
