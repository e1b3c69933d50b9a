"""Keep feature files of companies working that import from the earlier name of `features.definitions.streams`."""

from features.definitions.streams import *  # noqa: F403
from features.definitions.streams import round_half_away as rounded  # noqa: F401
