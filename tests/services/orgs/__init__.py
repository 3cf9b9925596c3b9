"""Tests of `bazar_cli/services/orgs`."""
