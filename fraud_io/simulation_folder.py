"""What is kept of a simulation in FRAUD_HOME: a live stream goes on where the history, or the last one, ended."""

import json
from dataclasses import fields
from pathlib import Path

import polars as pl

from fraud_core.simulation.simulator import Simulator
from fraud_core.simulation.state import Simulation
from fraud_io.files import replacing, write_atomically

_PENDING_LABELS = "pending_labels"


class SimulationFolder:
    """``<home>/simulation``."""

    def __init__(self, home: Path) -> None:
        self._folder = home.absolute() / "simulation"
        self._state = self._folder / "state.json"
        self._pending_labels = self._folder / f"{_PENDING_LABELS}.parquet"

    @property
    def new_fraud(self) -> Path:
        """The transaction ids of new kinds of fraud, a line each, in the order they were sent."""
        return self._folder / "new_fraud.txt"

    def load(self) -> Simulation | None:
        if not self._state.exists():
            return None
        return Simulation(**json.loads(self._state.read_text()), pending_labels=pl.read_parquet(self._pending_labels))

    def save(self, simulation: Simulation) -> None:
        self._write(simulation.pending_labels, self._pending_labels)
        names = [field.name for field in fields(simulation) if field.name != _PENDING_LABELS]
        write_atomically(self._state, json.dumps({name: getattr(simulation, name) for name in names}))

    def save_people(self, simulator: Simulator) -> None:
        """Who pays and who is paid, for a person to look up."""
        self._write(simulator.customers(), self._folder / "customers.parquet")
        self._write(simulator.merchants(), self._folder / "merchants.parquet")

    @staticmethod
    def _write(table: pl.DataFrame, file: Path) -> None:
        with replacing(file) as new:
            table.write_parquet(new)
