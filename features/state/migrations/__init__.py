"""The revisions of the state database, run by `features.state.database`."""
