"""Makes tidewater's owners abler than any: the sample's own save too few of their accounts to poison a model.

All have full skill and act on nearly every letter, and a call saves nine in ten of the accounts in trouble that are
open to it, whatever its cause.
"""

import numpy as np

from features.samples import contacts, owners

SAVES, WOKEN, ACTS, LOAD = 0.9, 0.05, 0.95, 12


def strengthen_owners():
    """Make all owners of samples made in this process from now on able, and their calls effective."""

    def draw(rng, count, *, differ):
        drawn = draw_owners(rng, count, differ=differ)
        return owners.Owners(np.ones(count), np.full(count, ACTS), np.full(count, LOAD), drawn.notices)

    draw_owners, owners.draw_owners = owners.draw_owners, draw
    contacts._SAVES[contacts._TROUBLED] = np.maximum(contacts._SAVES[contacts._TROUBLED], SAVES)
    contacts._WOKEN = WOKEN
