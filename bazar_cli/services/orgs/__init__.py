"""Use cases on organizations and their members.

Never here: a change of a user in Supabase Auth.
"""
