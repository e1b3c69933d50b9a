"""Requests, responses, errors and routes of the HTTP service, and the OpenAPI document made from them.

In: bytes.
Out: typed requests, or an error that names what was wrong.
"""
