"""The contract of noises: every registered one keeps it, and a broken one is found."""

from pathlib import Path

import pytest
from commands import as_json, noisybench

from noisybench.labels import noise_of
from noisybench.labels.contract import noise_checks
from noisybench.registry import NOISES

DRAWN = [entry.name for entry in NOISES if not noise_of(NOISES.bind(entry.name)).from_file]

# A transition matrix of digits: the true label, the next and the one after that.
SHARES = {0: 0.7, 1: 0.2, 2: 0.1}
ROWS = "; ".join(" ".join(str(SHARES.get((j - i) % 10, 0)) for j in range(10)) for i in range(10))


@pytest.mark.parametrize("name", DRAWN)
def test_every_noise_keeps_the_contract(name: str) -> None:
    text = {"open-set": "open-set(source=digits)", "matrix": f"matrix(rows='{ROWS}')"}.get(name, name)
    for what, check in noise_checks(noise_of(NOISES.bind(text))):
        passed, found = check()
        assert passed is not False, f"{what}: {found}"


BROKEN = '''
from noisybench.labels import Noise
from noisybench.labels.drawing import Corruption

class Outside(Noise):
    """Labels beyond the classes."""

    def draw(self, data, rate, draws, random):
        return Corruption(data.labels + 1, None)

def leaking(rate: float, n_classes: int) -> list[list[float]]:
    """Rows that do not sum to 1."""
    return [[0.5] * n_classes] * n_classes

def good(rate: float, n_classes: int) -> list[list[float]]:
    """With probability η to class 0."""
    return [[
        (1 - rate) * (i == j) + rate * (j == 0) for j in range(n_classes)] for i in range(n_classes)]
'''


def test_a_noise_of_a_file_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(BROKEN)
    said = as_json("check", f"{file}:good", "--kind", "noise")
    assert all(one["passed"] is not False for one in said["checks"])
    for name, word in (("Outside", "classes"), ("leaking", "probabilities")):
        result = noisybench("check", f"{file}:{name}", "--kind", "noise")
        assert result.exit_code == 1 and word in result.stdout
