"""Writes what account owners, teams and sponsors read.

In: an account's score and what changed, dated facts, its money and term, the play, and who else was told.
Out: letters and digests, as plain text and as HTML.
"""
