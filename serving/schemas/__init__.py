"""What goes over HTTP: requests, answers, errors, and the OpenAPI document of them.

In: bytes.
Out: typed requests, or an error that names what was wrong.
"""
