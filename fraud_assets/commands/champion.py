"""``python -m fraud_assets.commands.champion promote VERSION --reason TEXT`` and ``… rollback --reason TEXT``: a person
changes the version in Production. What is refused here is also refused to the monitoring job.

The stream follows at its next look at the registry. Exit status: 0 done, 1 refused or not possible.
"""

import argparse
import getpass
import sys
from collections.abc import Mapping

from fraud_assets.registry import Registry
from fraud_core.settings import Settings
from fraud_io.mlflow_client import MlflowError, errors_in_words
from fraud_io.quarantine_log import QuarantineLog


class RefusedError(Exception):
    """Why the champion stays, in one sentence."""


def promote(
    settings: Settings, registry: Registry, version: str, why: str, evidence: Mapping[str, float] | None = None
) -> str | None:
    """Put ``version`` into Production; returns the version that was there before.

    RefusedError when there is no such version, it is there already, the stream would refuse it, or labels are in
    quarantine.
    """
    versions, before = registry.versions(), registry.champion()
    if version not in versions:
        there = ", ".join(versions) or "none yet"
        raise RefusedError(f"there is no version {version} of {settings.model_name}; there are: {there}")
    if version == before:
        raise RefusedError(f"version {version} is in Production already")
    blocked = QuarantineLog(settings.lake).blocks_promotion()
    if blocked:
        raise RefusedError(f"version {version} is not promoted: {blocked}")
    try:
        registry.load(version).open()
    except ValueError as error:
        raise RefusedError(f"version {version} cannot be served: {error}") from error
    registry.move(version, "Production", why, evidence)
    return before


def roll_back(registry: Registry, why: str, evidence: Mapping[str, float] | None = None) -> tuple[str, str]:
    """Put the last champion that can be served back into Production; returns the version before and the one after.

    RefusedError when there is none. Versions that the stream would refuse are skipped.
    """
    before = registry.champion()
    if before is None:
        raise RefusedError("no version is in Production: there is nothing to roll back")
    passed_over = []
    for version in registry.past_champions():
        try:
            registry.load(version).open()
        except ValueError as error:
            passed_over.append(f"; version {version} cannot be served: {error}")
            continue
        registry.roll_back(version, why, evidence)
        return before, version
    raise RefusedError(f"there is no previous version to go back to from version {before}{''.join(passed_over)}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    promotion = commands.add_parser("promote")
    promotion.add_argument("version")
    promotion.add_argument("--reason", required=True)
    commands.add_parser("rollback").add_argument("--reason", required=True)
    call = parser.parse_args()
    settings = Settings()
    try:
        with errors_in_words(settings.mlflow_address):
            registry = Registry(settings, f"{getpass.getuser()} by command")
            if call.command == "promote":
                before, after = promote(settings, registry, call.version, call.reason), call.version
            else:
                before, after = roll_back(registry, call.reason)
    except (RefusedError, MlflowError) as error:
        print(f"fraud: {error}", file=sys.stderr)
        return 1
    print(f"Version {after} is in Production{f' instead of {before}' if before else ''}; see ./run status")
    return 0


if __name__ == "__main__":
    sys.exit(main())
