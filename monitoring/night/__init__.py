"""Run the whole night: check, build, score, drift, gate, alert, deliver, report.

In: a company's settings and the instant to look from.
Out: each step's state in the state database, figures for Prometheus, spans for OpenTelemetry.
"""
