"""Define the settings of privacy: the key of hashes."""

from __future__ import annotations

from typing import Literal

from features.settings.values import SettingsSection


class Privacy(SettingsSection):
    """What names people: erasures and pseudonyms, both hashes by a key of the company."""

    # The environment variable with the key, at least 32 characters. Without it a key is made once in
    # var/NAME/privacy.key. Another key knows nobody who was erased.
    key_env: str = "GARRISON_PRIVACY_KEY"
    # Whether usage keeps the ids of users as they come, or a hash of each by the key, the same every night. Features
    # are equal either way; the people of an account are then shown by their hashes.
    user_ids: Literal["keep", "hash"] = "keep"
