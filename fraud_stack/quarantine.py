"""``./run labels``: what is in quarantine, and how a person releases it."""

import getpass
from typing import Annotated

import typer

app = typer.Typer(help="Show the labels in quarantine, or release them.", invoke_without_command=True)


@app.callback()
def show(context: typer.Context) -> None:
    if context.invoked_subcommand is not None:
        return
    held = _log().held()
    for batch in held:
        print(f"{batch.name:24} {batch.labels:7,} labels  {batch.reason}")
    if not held:
        print("No labels are in quarantine")


@app.command()
def release(
    name: Annotated[str, typer.Argument(metavar="BATCH|SOURCE", help="A batch as ./run labels names it, or a source.")],
    reason: Annotated[str, typer.Option(help="Why they can be trusted; it is logged.")],
) -> None:
    """Let labels count from now on; they are not held again. Who, when and why is appended to the quarantine's log."""
    from fraud_io.errors import OperatorError

    try:
        released = _log().release(name, reason, getpass.getuser())
    except LookupError as error:
        raise OperatorError(error.args[0]) from error
    for batch in released:
        print(f"Released {batch.name}: its {batch.labels:,} labels count from the next run on")


def _log():
    from fraud_core.settings import Settings
    from fraud_io.quarantine_log import QuarantineLog

    return QuarantineLog(Settings().lake)
