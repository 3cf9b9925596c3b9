"""Tests of `bazar doctor`."""
