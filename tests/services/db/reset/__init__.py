"""Tests of `db reset`."""
