"""Tests of `bazar orgs`."""
