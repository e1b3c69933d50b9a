"""Hold what the steps of one night share: settings, state, the history, and the two instants that matter."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from features.core.progress import Progress, ignore
from features.settings import Settings
from features.sources.history import History
from features.state.database import Store
from training.registry import promotion_log


@dataclass
class NightContext:
    """What the steps of one night share.

    Args:
        settings: The company's.
        store: Its state database.
        as_of: The instant that the night scores.
        until: The instant at which the data should be up to date: the clock's, or `as_of` where that was asked for.
        progress: Called as a step goes on.
    """

    settings: Settings
    store: Store
    as_of: datetime
    until: datetime
    progress: Progress = field(default=ignore)

    @cached_property
    def history(self) -> History:
        """Return the company's history, read and validated at first use.

        Raises:
            GarrisonError: A source can't be read, or too many of its rows are bad.
        """
        return History.open(self.settings, self.progress)

    @cached_property
    def inputs(self) -> str:
        """Return 16 hexadecimal digits that change with all that the night's scores depend on.

        These are the facts visible at `as_of`, the settings, the features and the champions. Facts that become known
        later change nothing.
        """
        visible = self.history.read_fingerprints(self.as_of) or self.history.compute_fingerprint()
        champions = {target: p.version for target, p in promotion_log.read_current(self.settings).items()}
        settings = self.settings.model_dump(mode="json", exclude={"alerts", "crm", "serving", "monitoring"})
        text = json.dumps([visible, champions, settings, self.history.catalog.version], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def close(self) -> None:
        """Close the history, if it was opened."""
        if "history" in vars(self):
            self.history.close()
