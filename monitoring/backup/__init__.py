"""Back up what a company's runs wrote into one file, while they go on, and restore it.

In: the state database, the stored results, the models. Out: an archive with a list of its files and their checksums.
"""
