"""Tests of `bazar db`."""
