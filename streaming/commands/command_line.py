"""How the commands of this package end: an error is one sentence on standard error and an exit status, no traceback."""

import sys
from typing import NoReturn

import typer
from pydantic import ValidationError

from fraud_core.input_files.errors import InputFileError
from fraud_core.settings import describe
from fraud_io.errors import OperatorError


def run(app: typer.Typer) -> NoReturn:
    """Exit status: what the command returned; 1: an operator must act; 2: the call, a file or a setting is wrong."""
    try:
        sys.exit(app(standalone_mode=False))
    except KeyboardInterrupt:
        sys.exit(130)
    except OperatorError as error:
        sys.exit(f"fraud: {error}")
    except typer.TyperException as error:
        sentence = error.format_message()
    except ValidationError as error:
        sentence = describe(error)
    except InputFileError as error:
        sentence = str(error)
    print(f"fraud: {sentence}", file=sys.stderr)
    sys.exit(2)
