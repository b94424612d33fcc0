"""Noisy labels in the formats that other programs read: CSV, .npy, .json and .pt."""

import csv
import io
import json
import os

import numpy as np

from noisybench.datasets import Dataset
from noisybench.errors import InvalidValue
from noisybench.labels.manifest import Manifest

FORMATS = (".csv", ".npy", ".json", ".pt")


def encode(manifest: Manifest, ending: str, dataset: Dataset) -> bytes:
    """The content of a file with one of the endings in FORMATS: a label for each training image, in the order
    of the data set's source.

    .csv: columns index (row in the source), given, clean and, of own images, path.  .npy: the given labels
    (n,) int64.  .json: a list of them.  .pt: a mapping of tensors (n,) int64, clean_label and noisy_label,
    which torch.load(weights_only=True) reads.
    Raises InvalidValue for labels that the format cannot hold.
    """
    if manifest.open_set is not None:
        raise InvalidValue(f"Open-set noise changes images, which {ending} cannot hold. Write an .npz file.")
    order = np.argsort(manifest.index)
    given, clean = manifest.noisy[order], manifest.clean[order]
    if ending == ".csv":
        columns = {"index": manifest.index[order].tolist(), "given": given.tolist(), "clean": clean.tolist()}
        if dataset.train_paths is not None:
            columns["path"] = [os.fsdecode(path) for path in dataset.train_paths[order].tolist()]
        text = io.StringIO(newline="")
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(columns)
        rows.writerows(zip(*columns.values(), strict=True))
        return text.getvalue().encode(errors="surrogateescape")
    if ending == ".json":
        return json.dumps(given.tolist()).encode()
    file = io.BytesIO()
    if ending == ".npy":
        np.save(file, given, allow_pickle=False)
    else:
        import torch

        labels = {"clean_label": torch.from_numpy(clean), "noisy_label": torch.from_numpy(given)}
        torch.save(labels, file)
    return file.getvalue()
