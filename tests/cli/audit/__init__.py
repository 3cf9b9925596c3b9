"""Tests of `bazar audit`."""
