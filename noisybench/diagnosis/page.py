"""The page of suspects: one HTML file that needs nothing outside it, with pictures to look at and to mark."""

import io
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisybench import pages
from noisybench.datasets import Dataset
from noisybench.diagnosis.diagnose import Diagnosis
from noisybench.diagnosis.findings import CANNOT_SEE, confused_pairs
from noisybench.labels.drawing import labels_sha256

# Pictures in the page: half as many again as are distrusted, within these bounds.
FEWEST, MOST = 200, 3000


def render(
    diagnosis: Diagnosis,
    dataset: Dataset,
    summary: Mapping[str, Any],
    suspects: Sequence[Mapping[str, Any]],
) -> bytes:
    """The page.

    summary: as of `outputs.summary`; suspects: as of `outputs.suspects`, all of them.
    """
    numbers = {name: number for number, name in enumerate(dataset.classes)}
    shown = suspects[: min(MOST, max(FEWEST, diagnosis.n_flagged * 3 // 2))]
    labels = labels_sha256(np.concatenate([diagnosis.rows, diagnosis.given]))
    data = {
        # Of marks that the browser keeps: those of other labels are not about these.
        "key": f"noisybench-diagnose-{dataset.fingerprint[:12]}-{labels[:12]}",
        "n": len(diagnosis.rows),
        "rate": diagnosis.rate,
        "recall": diagnosis.calibration.recalls(diagnosis.rate),
        "classes": dataset.classes,
        "pairs": [
            {
                **{"true": pair.true, "given": pair.given, "count": pair.count},
                **{"true_name": dataset.classes[pair.true], "given_name": dataset.classes[pair.given]},
            }
            for pair in confused_pairs(diagnosis)
        ],
        "suspects": [
            {
                **suspect,
                "given": numbers[suspect["given"]],
                "suggested": numbers[suspect["suggested"]],
                "image": _as_address(dataset.train_images[suspect["row"]]),
            }
            for suspect in shown
        ],
    }
    values = {"summary": summary, "data": data, "cannot_see": CANNOT_SEE}
    return pages.render("diagnosis", **values, percent=lambda value: f"{value:.1%}").encode()


def _as_address(image: NDArray[np.uint8]) -> str:
    """An image (h, w, c) as a PNG that the page itself holds."""
    from PIL import Image

    pixels = np.asarray(image)
    content = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(content, "PNG")
    return f"data:image/png;base64,{b64encode(content.getvalue()).decode()}"
