"""Follows the model registry: which version decides (alias champion) and which one is tried beside it (challenger).

A thread asks the registry every few seconds, loads and warms a new version, and only then offers it, so that a swap
never delays a micro-batch. With the registry down the last good models keep serving, after a restart too: every version
is kept in a cache folder. A version that was made for other features, or whose files are not those that were
registered, is refused; the one before it stays, and a metric shows it as long as the registry names the refused one.
"""

import logging
import threading
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from fraud_core.model.roles import CHALLENGER, CHAMPION
from fraud_core.model.stored import StoredModel
from fraud_io.model_registry import Entry
from streaming import failpoints, metrics
from streaming.errors import StoppedError
from streaming.models.model_cache import ModelCache, Models, ServedModel

log = logging.getLogger(__name__)


class RegisteredModels(Protocol):
    """What is asked of a model registry, as ModelRegistry answers it. Methods raise OSError when it does not answer."""

    def aliases(self) -> dict[str, str]: ...  # role -> version

    def entry(self, version: str) -> Entry: ...

    def load(self, version: str, entry: Entry) -> StoredModel: ...  # ValueError when it is not what was registered


class ModelSource:
    """``current`` holds the models for the next micro-batch."""

    def __init__(self, registry: RegisteredModels, cache: Path, poll_s: float, currency: str) -> None:
        self.current = Models()
        self.has_looked = threading.Event()  # set once the registry has answered or failed to
        self._registry = registry
        self._cache = ModelCache(cache, currency)
        self._poll_s = poll_s
        self._refused: set[str] = set()
        self._has_answered = False
        self._problem: str | None = None

    def start(self, stop: threading.Event) -> None:
        threading.Thread(target=self._follow, args=(stop,), name="models", daemon=True).start()

    def restore(self, champion: str | None, challenger: str | None) -> None:
        """Serve these versions from the cache, as far as it has them, until the registry answers."""
        try:
            self.current = self._cache.models(champion, challenger)
        except ValueError as error:
            log.error("the models of the last run cannot be served any more: %s", error)

    def get(self, version: str | None, stop: threading.Event) -> ServedModel | None:
        """One version, from memory, the cache or the registry; waits for the registry when only it has the version.

        Raises ValueError when the version cannot be served by this code.
        """
        if version is None:
            return None
        known = {model.version: model for model in (self.current.champion, self.current.challenger) if model}
        found = known.get(version) or self._cache.get(version)
        while found is None:
            try:
                found = self._fetch(version)
            except OSError as error:
                log.warning(
                    "waiting for model version %s, with which a micro-batch must be replayed: %s", version, error
                )
                if stop.wait(self._poll_s):
                    raise StoppedError("stopped while waiting for the model registry") from error
        return found

    def look(self) -> None:
        """Ask the registry once and load what is new."""
        try:
            aliases = self._registry.aliases()
            champion = self._offer(aliases.get(CHAMPION), self.current.champion)
            challenger = self._offer(aliases.get(CHALLENGER), self.current.challenger)
            is_confirmed = (champion and champion.version) == aliases.get(CHAMPION)
            self.current = Models(champion, challenger, is_confirmed)
            metrics.report_refused({role: version for role, version in aliases.items() if version in self._refused})
            self._has_answered = True
            self._report(None)
        except OSError as error:
            self.current = replace(self.current, is_confirmed=False)
            self._report(str(error))
        self.has_looked.set()

    def _follow(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                self.look()
            except Exception:
                log.exception("looking for a new model failed, the last good ones serve")
            stop.wait(self._poll_s)

    def _offer(self, version: str | None, last_good: ServedModel | None) -> ServedModel | None:
        if version is None:
            return None
        for model in (self.current.champion, self.current.challenger):
            # What was restored from the cache may be another registry's model of the same number: look at it once.
            if model and model.version == version and self._has_answered:
                return model
        if version in self._refused:
            return last_good
        try:
            return self._fetch(version)
        except ValueError as error:
            self._refused.add(version)
            metrics.REFUSED_MODELS.inc()
            log.error("model version %s is refused, the last good one serves: %s", version, error)
            return last_good

    def _fetch(self, version: str) -> ServedModel:
        """From the cache where it holds this very version, else from the registry, into the cache."""
        entry = self._registry.entry(version)
        cached = self._cache.get(version) if self._cache.entry(version) == entry else None
        if cached is not None:
            return cached
        failpoints.reach("before_model_load")
        model = self._cache.add(version, entry, self._registry.load(version, entry))
        log.info("model version %s is loaded", version)
        return model

    def _report(self, problem: str | None) -> None:
        """Log a change of the registry's health, not every look."""
        metrics.REGISTRY_UP.set(problem is None)
        if problem != self._problem:
            self._problem = problem
            if problem:
                log.warning("the model registry does not answer, the last good models serve: %s", problem)
            else:
                log.info("the model registry answers again")
