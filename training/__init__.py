"""Trains models on features and keeps those that may be trusted.

In: a `History`.
Out: calibrated models in MLflow, each with its evaluation, and a champion of each target.
"""
