"""Keep feature files of companies working that import from the earlier name of `features.definitions.feature`."""

from features.definitions.feature import *  # noqa: F403
from features.definitions.feature import FeatureContext as At  # noqa: F401
from features.definitions.feature import WindowedMeasure as Ask  # noqa: F401
