"""Classes accounts into tiers A to E under the 5A rule.

In: snapshots at one `as_of`, the tiers of the run before, the quarter's cuts and people's overrides.
Out: each account's tier with its worth, its rank in each side, and one sentence that says why.
"""
