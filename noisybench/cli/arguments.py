"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from noisybench.training.gpu_options import Switch

DATABASE = Path("noisybench.db")

Database = Annotated[
    Path,
    typer.Option("--db", envvar="NOISYBENCH_DB", callback=Path.expanduser, help="SQLite file of runs."),
]
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="Id of a run, or its beginning.", show_default=False)
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")]
Capture = Annotated[
    Switch,
    typer.Option(
        "--capture", help="Record a training step once, as a CUDA graph, and replay it. auto: on CUDA."
    ),
]
Compile = Annotated[
    Switch, typer.Option("--compile", help="Compile the networks. auto: on CUDA, in long runs.")
]
Deterministic = Annotated[
    bool,
    typer.Option(
        "--deterministic", help="On CUDA: the same bits each time, also of a run that is resumed; slower."
    ),
]
Code = Annotated[
    list[Path] | None,
    typer.Option(
        "--code",
        metavar="FILE.py",
        help="The file that defines the run's loss or model: it is executed if it is what the run was"
        " trained with. Repeatable.",
        show_default=False,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Train again what the store has already.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the file of --out although it is of another kind.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="KEY=VALUE",
        help="Only runs with this value in this column, such as dataset=cifar10, rate=0.4 or loss=lq"
        " (any q). Repeatable: values of one key are alternatives, all keys must match.",
        show_default=False,
    ),
]
