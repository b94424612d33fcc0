"""Commands in this process, as a user gives them."""

import json
from typing import Any

from typer.testing import CliRunner, Result

from noisybench.cli import app

SHORT = ("--epochs", "3", "--train-size", "400", "--quiet")


def noisybench(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def succeed(*arguments: object) -> str:
    result = noisybench(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def as_json(*arguments: object) -> Any:
    return json.loads(succeed(*arguments, "--json"))
