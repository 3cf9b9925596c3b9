"""Configuration of this machine's user: targets, env files, profiles, stored secrets and sessions.

Never here: a connection to a target.
"""
