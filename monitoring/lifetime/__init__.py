"""The lifetime file: everything that is known of one account, in one place.

In: the company's tables, scores, episodes, and what people wrote about the account.
Out: its head, timeline, course of risk, needs, promises and people; and what if something were otherwise.
"""
