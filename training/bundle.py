"""Loads models logged before `training.models.model` had this name: MLflow stored the path of this module in them."""

from training.models.model import Model as Bundle
from training.models.model import _load_pyfunc

__all__ = ["Bundle", "_load_pyfunc"]
