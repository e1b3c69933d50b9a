"""Serves web pages: for now those behind the links of letters.

In: signed links, the state database.
Out: acts on episodes, each by the recipient of the letter that the link came with.
"""
