"""The processes of `bazar serve`: sockets, workers, signals, health, metrics, access log and traces.

Never here: a route or a use case. What is served is an ASGI application that others hand it.
"""
