"""Tests of `bazar_cli/services/db`."""
