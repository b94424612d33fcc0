"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from noisybench.training.gpu_options import Switch

DATABASE = Path("noisybench.db")

Database = Annotated[
    Path,
    typer.Option(
        "--db", envvar="NOISYBENCH_DB", callback=Path.expanduser, help="The store: SQLite file of the runs."
    ),
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="Id of a run, or its first characters.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")]
Capture = Annotated[
    Switch, typer.Option("--capture", help="Capture the training step as a CUDA graph. auto: on CUDA.")
]
Compile = Annotated[
    Switch,
    typer.Option("--compile", help="Compile the networks with torch.compile. auto: on CUDA, in long runs."),
]
Deterministic = Annotated[
    bool,
    typer.Option(
        "--deterministic", help="On CUDA: a repeated or resumed run gives the same bits; training is slower."
    ),
]
Code = Annotated[
    list[Path] | None,
    typer.Option(
        "--code",
        metavar="FILE.py",
        help="File that defines the run's loss or model. It is executed only if its SHA-256 is that of the"
        " run. Repeatable.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Train again although the run has completed.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the output file even if it is of another kind.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="KEY=VALUE",
        help="Use only runs with this value, such as dataset=cifar10, rate=0.4 or loss=lq (any q)."
        " Repeatable: several values of one key are alternatives; all keys must match.",
    ),
]
