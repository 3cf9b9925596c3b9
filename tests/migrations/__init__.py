"""Tests of the revisions, and of running them."""
