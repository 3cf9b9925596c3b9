"""The client of bazar's own HTTP API: the standard library only, because httpx costs 300 ms a start.

Never here: which use case is where (the routes of the domain say it), or the stored session.
"""
