"""Formulas executed on NumPy arrays, with the same bits as SQL.

In: Ibis expressions of the catalog and arrays of measures.
Out: arrays of float64, NaN for null.
"""
