"""The tests; docs/testing.md says how they are arranged."""
