"""Tests of `bazar_cli/services/users`."""
