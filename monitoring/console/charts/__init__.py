"""Lays out the pictures of pages: courses over time, intervals.

In: values with their times and bounds.
Out: points of inline SVG, with what a reader of screens is told.
"""
