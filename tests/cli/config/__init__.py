"""Tests of `bazar config`."""
