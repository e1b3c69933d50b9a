"""Models to scores: the HTTP service, batch scoring and the store of scores."""
