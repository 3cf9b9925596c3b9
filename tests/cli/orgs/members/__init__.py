"""Tests of `bazar orgs members`."""
