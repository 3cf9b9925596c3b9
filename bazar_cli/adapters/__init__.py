"""The way to everything outside: Postgres, Supabase Auth, migration files, configuration and private files.

Never here: a decision about who may do what, or a text for one command.
"""
