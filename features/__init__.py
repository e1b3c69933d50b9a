"""History to features: settings, sources, checks, the feature catalog and the point-in-time engine."""
