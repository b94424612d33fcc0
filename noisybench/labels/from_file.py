"""The noise of labels that a file gives: nothing is drawn, and no rate is chosen."""

from typing import Annotated, ClassVar

from noisybench.labels.noise import INDEPENDENT, Noise
from noisybench.options import Option
from noisybench.registry import NOISES

Key = Annotated[str, Option("which labels: their key in the file, or the file's name", cli=False)]


@NOISES.register("file")
class FromFile(Noise):
    """The labels are those of a file, given by --labels; the rate is the fraction known to be wrong."""

    draws: ClassVar[tuple[str, ...]] = (INDEPENDENT,)
    from_file: ClassVar[bool] = True

    key: Key = ""
