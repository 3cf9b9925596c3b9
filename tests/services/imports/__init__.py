"""Tests of `bazar_cli/services/apply`."""
