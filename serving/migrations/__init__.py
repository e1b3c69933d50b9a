"""The revisions of the state database, run by `serving.store`."""
