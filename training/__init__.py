"""Features to models: labels, cohorts, fitting, calibration, evaluation and the registry."""
