"""Tests of `bazar plans`."""
