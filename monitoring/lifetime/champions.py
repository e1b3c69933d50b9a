"""Keep the models that serve in memory, until others are promoted."""

from __future__ import annotations

import threading

from features.core.errors import GarrisonError
from features.settings import Settings
from serving.scoring.scorer import Scorer, load_champions
from training.registry import promotion_log
from training.registry.promotion_log import Promotion


class Champions:
    """The models that serve; several threads may ask at once.

    Args:
        settings: The company's.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings, self._lock = settings, threading.Lock()
        self._current: dict[str, Promotion] | None = None
        self._scorer: Scorer | None = None

    def load(self) -> Scorer | None:
        """Return the scorer of the models that serve now; None where there is none, or it can't be read."""
        with self._lock:
            try:
                current = promotion_log.read_current(self._settings)
                if current != self._current:
                    self._scorer = load_champions(self._settings) if current else None
                    self._current = current
            except GarrisonError:
                return None
            return self._scorer
