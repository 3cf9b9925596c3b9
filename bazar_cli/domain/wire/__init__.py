"""Requests and results as JSON, in both directions, for the HTTP API and its client.

Never here: HTTP, or a rule about a value.
"""
