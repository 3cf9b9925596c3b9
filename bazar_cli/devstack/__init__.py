"""The embedded stack for development, tests and CI: a Postgres and an Auth service on this machine.

Never here: anything that a production target needs; only `bazar local` and tests import it.
"""
