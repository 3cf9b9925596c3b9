"""Tests of `bazar_cli/services/gate`."""
