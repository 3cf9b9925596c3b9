"""Tests that walk the command tree, the layers and the generated files."""
