"""Use cases and sessions of a remote target: all of them are requests to bazar's HTTP API.

Never here: a key, a database, SUPERUSER_*, or a rule that the server decides by.
"""
