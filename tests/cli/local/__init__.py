"""Tests of `bazar local`."""
