"""Turns texts of tickets into words, vectors and groups of like texts.

In: texts, redacted, each with its language.
Out: unit vectors, from embeddings or from words; groups; names of groups in each language.
"""
