"""`noisybench check`: run the contract tests of a loss, method, noise or model."""

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from noisybench.cli.arguments import AsJson
from noisybench.cli.console import cell, console, print_json
from noisybench.errors import RunFailed

Kind = Literal["loss", "model", "noise"]


def check(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Loss, method, noise or model: path/to/file.py:name, or a known name such as lq(q=0.5).",
        ),
    ],
    kind: Annotated[Kind, typer.Option(help="What NAME is.")] = "loss",
    as_json: AsJson = False,
) -> None:
    """Check a loss, method, noise or model of your own.

    Runs the contract tests, which execute the file, and prints their results. Exits with 1 if a check fails.
    """
    from noisybench.config import Config

    short = {
        "dataset": "digits",
        "epochs": 4,
        "train_size": 400,
        "model": "mlp",
        "milestones": "2",
        "trusted": 40,
    }
    config = Config.from_user(**{**short, kind: name})

    from rich.table import Table

    from noisybench.training.contract import check_method, check_model, check_noise

    checks = {
        "loss": lambda: list(check_method(config)),
        "model": lambda: list(check_model(config.bound("model"))),
        "noise": lambda: list(check_noise(config.bound("noise"))),
    }[kind]()
    if as_json:
        print_json({kind: getattr(config, kind), "checks": [asdict(one) for one in checks]})
    else:
        table = Table("check", "", "found", box=None, pad_edge=False)
        words = {True: "passed", False: "FAILED", None: ""}
        for one in checks:
            table.add_row(cell(one.what), words[one.passed], cell(one.found))
        console().print(table)
    failed = [one.what for one in checks if one.passed is False]
    if failed:
        raise RunFailed(f"{getattr(config, kind)} fails {len(failed)} of {len(checks)} checks.")
