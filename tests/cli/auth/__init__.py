"""Tests of `bazar auth`."""
