"""Lists a person's open episodes, and acts on them from pages and from the links of letters.

In: episodes and their expected loss avoided; signed links.
Out: acts on episodes, each by the person who sent the form.
"""
