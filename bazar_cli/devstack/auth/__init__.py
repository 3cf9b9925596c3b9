"""An Auth service that speaks Supabase's wire protocol (GoTrue v2.196), for development, tests and CI.

Never here: behaviour that Supabase Auth does not have; tests compare both.
"""
