"""Tests of `bazar_cli/services/audit`."""
