"""Define the settings of monitoring: who hears of a held run, and what the night does."""

from __future__ import annotations

from features.settings.values import SettingsSection


class Monitoring(SettingsSection):
    """Monitoring: who hears of a held run, and what the night does."""

    # Gets one message when a run is held. Without it, the hold is only printed and stored.
    data_team: str | None = None
    # Destinations that the night delivers scores to, each as `python -m serving score --to` takes it.
    deliver_to: tuple[str, ...] = ()
