"""Noisy labels in the formats that other programs read: CSV, .npy, .json and .pt."""

import io
import json

import numpy as np

from noisybench.errors import InvalidValue
from noisybench.labels.manifest import Manifest

FORMATS = (".csv", ".npy", ".json", ".pt")


def encode(manifest: Manifest, ending: str) -> bytes:
    """The content of a file with one of the endings in FORMATS, in the order of the data set's source.

    .csv: columns index (row in the source), given, clean.  .npy: the given labels (n,) int64.  .json: a
    list of them.  .pt: a mapping of tensors (n,) int64, clean_label and noisy_label, which
    torch.load(weights_only=True) reads.
    Raises InvalidValue for labels that the format cannot hold.
    """
    if manifest.open_set is not None:
        raise InvalidValue(f"Open-set noise changes images, which {ending} cannot hold. Write an .npz file.")
    order = np.argsort(manifest.index)
    index, given, clean = (part[order] for part in (manifest.index, manifest.noisy, manifest.clean))
    if ending == ".csv":
        rows = zip(index.tolist(), given.tolist(), clean.tolist(), strict=True)
        return "".join(["index,given,clean\n", *(f"{i},{g},{c}\n" for i, g, c in rows)]).encode()
    if not np.array_equal(index, np.arange(len(index))):
        raise InvalidValue(
            f"The training images of {manifest.dataset} are a part of its source, and {ending} has no"
            " place for row numbers. Write a .csv or an .npz file."
        )
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
