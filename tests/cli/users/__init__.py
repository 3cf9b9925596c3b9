"""Tests of `bazar users`."""
