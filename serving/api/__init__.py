"""The HTTP service that BentoML runs.

In: requests.
Out: answers, metrics, the access log.
"""
