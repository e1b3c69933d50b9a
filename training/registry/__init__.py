"""Keeps models: MLflow, the promotion checks and log, the model card.

In: a fitted model.
Out: a registered version, a champion, a card.
"""
