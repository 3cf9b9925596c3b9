"""Requests, results and specs of the database: migrations, revision files, the marker, reset.

Never here: how SQL is run.
"""
