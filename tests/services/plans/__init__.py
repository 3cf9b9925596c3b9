"""Tests of `bazar_cli/services/plans`."""
