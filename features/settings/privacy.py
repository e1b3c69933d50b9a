"""Define the settings of privacy: the key of hashes."""

from __future__ import annotations

from features.settings.values import SettingsSection


class Privacy(SettingsSection):
    """What names people: erasures and pseudonyms, both hashes by a key of the company."""

    # The environment variable with the key, at least 32 characters. Without it a key is made once in
    # var/NAME/privacy.key. Another key knows nobody who was erased.
    key_env: str = "GARRISON_PRIVACY_KEY"
