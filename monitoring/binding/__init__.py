"""Finds who answers for an account, and when they work.

In: the accounts table, the settings' [binding], tiers, absences.
Out: owner, team by cause and sponsor by tier, each with why; working time.
"""
