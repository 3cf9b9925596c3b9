"""Tests of use cases on a real Postgres and a real Auth service."""
