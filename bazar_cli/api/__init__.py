"""The HTTP API: the specs of the domain as routes, on the same services as the commands.

Never here: a rule about a value, a permission, or a statement of SQL. Only this package knows FastAPI.
"""
