"""Take an account or a person out of everything that Garrison keeps, look whether it is gone, or export what is kept.

In: an id, and the settings, which say where things are kept. Out: files and databases without it, counts by place, and
a tombstone that keeps it out of the next import. Places are found by their form, files under `var/` and MLflow's folder
and the tables of the state database, not from a list: what a new room keeps is covered without a word here.
"""
