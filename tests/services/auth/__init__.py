"""Tests of the embedded Auth service against Supabase's recorded behaviour."""
