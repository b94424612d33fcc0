"""Commands as a user gives them: in this process, or in one of their own."""

import json
import subprocess
import sys
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


def process(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "noisybench", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
