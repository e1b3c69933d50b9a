"""Predicts one row by LightGBM's own prepared call, which its Python wrapper lacks: a tenth of the time, the same bits.

The call is part of LightGBM's C interface, but how Python reaches that is private. So each step is guarded: where
anything is missing or answers otherwise, the public call is used.
"""

from __future__ import annotations

import ctypes
import logging
import weakref
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    import lightgbm as lgb

_log = logging.getLogger(__name__)
_FLOAT64, _RAW_SCORE = 1, 1  # C_API_DTYPE_FLOAT64, C_API_PREDICT_RAW_SCORE


class SingleRow:
    """A booster's prepared call for one row; safe from several threads.

    Args:
        booster: Whose trees predict.
    """

    def __init__(self, booster: lgb.Booster) -> None:
        from lightgbm.basic import _LIB

        self._booster, self._columns = booster, booster.num_feature()  # kept: the call reads the booster's memory
        self._handle = ctypes.c_void_p()
        one_thread, all_trees = ctypes.c_char_p(b"num_threads=1"), (ctypes.c_int(0), ctypes.c_int(-1))
        kinds = ctypes.c_int(_FLOAT64), ctypes.c_int32(self._columns)
        failed = _LIB.LGBM_BoosterPredictForMatSingleRowFastInit(
            booster._handle,  # noqa: SLF001  # as the module says
            ctypes.c_int(_RAW_SCORE),
            *all_trees,
            *kinds,
            one_thread,
            ctypes.byref(self._handle),
        )
        if failed:
            message = "the call can't be prepared"
            raise OSError(message)
        weakref.finalize(self, _LIB.LGBM_FastConfigFree, self._handle)
        self._predict = _LIB.LGBM_BoosterPredictForMatSingleRowFast

    @classmethod
    def prepare(cls, booster: lgb.Booster) -> Self | None:
        """Prepare the call of a booster; return None where the public call is to be used."""
        try:
            prepared = cls(booster)
            rows = [np.full((1, booster.num_feature()), value) for value in (np.nan, 0.0, 1.0)]
            public = [booster.predict(row, raw_score=True, num_threads=1)[0] for row in rows]
            if [prepared.predict(row) for row in rows] == public:
                return prepared
            _log.warning("LightGBM's call for one row gives other scores: its public call is used")
        except (ImportError, AttributeError, OSError, ctypes.ArgumentError) as error:
            _log.warning("LightGBM's call for one row can't be used: %s", error)
        return None

    def predict(self, row: np.ndarray) -> float:
        """Return the log-odds of one row.

        Args:
            row: (1, columns) or (columns,).

        Raises:
            ValueError: It is no row of the booster's columns.
        """
        values = np.ascontiguousarray(row, dtype=np.float64)
        found, count = ctypes.c_double(), ctypes.c_int64()
        address = ctypes.c_void_p(values.__array_interface__["data"][0])
        if values.size != self._columns or self._predict(
            self._handle, address, ctypes.byref(count), ctypes.byref(found)
        ):
            message = f"one row of {self._columns} columns is wanted, not {values.shape}"
            raise ValueError(message)
        return found.value

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return type(self), (self._booster,)  # a call is prepared anew in each process
