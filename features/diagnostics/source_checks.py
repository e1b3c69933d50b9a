"""Decide from the profile of a source whether its newest days look as they always did.

A change is held against a source if it is far outside the source's own noise and large; where it is only one of them,
it is to be watched or passed over. A cause is named instead of what follows from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from features.diagnostics.clock_shift import find_shift
from features.diagnostics.source_findings import SourceFinding
from features.diagnostics.source_profile import SourceProfile
from features.diagnostics.value_checks import find_new_values, find_nulls, find_other_units, find_repeats
from features.diagnostics.volume_checks import (
    find_fewer_accounts,
    find_frozen_days,
    find_late_arrivals,
    find_unknown_accounts,
    find_volume_change,
)


def check_profile(profile: SourceProfile, others: Sequence[SourceProfile] = ()) -> Iterator[SourceFinding]:
    """Yield what is wrong with the newest days of a source, but for its silence.

    Args:
        profile: Of the source. One of less than some seventeen weeks has no past to compare with.
        others: Of the company's other sources.
    """
    unknown, repeated = find_unknown_accounts(profile), find_repeats(profile)
    frozen, volume = find_frozen_days(profile), find_volume_change(profile, others)
    yield from (finding for finding in (unknown, repeated, frozen) if finding)
    if volume:
        # Rows in quarantine are missing, and rows that came twice are too many.
        cause = unknown if volume.kind == "halved" else repeated
        if not cause:
            yield volume
    elif not (unknown or repeated):
        fewer = find_fewer_accounts(profile)
        if fewer:
            yield fewer
    yield from (finding for finding in (find_shift(profile), find_late_arrivals(profile)) if finding)
    yield from find_other_units(profile)
    yield from find_nulls(profile)
    yield from find_new_values(profile)
