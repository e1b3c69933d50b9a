"""The library of problems and fixes: known causes behind tickets, what fixed them, and whether the fix held.

In: topics of tickets (`monitoring.journey`), the texts of tickets, and what people name, merge, link and fix.
Out: problems with counts of tickets, accounts and repeats; the nearest problems of a text; fixes with their effect.
"""
