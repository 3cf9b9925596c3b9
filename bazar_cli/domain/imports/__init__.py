"""Imports of users: the file and its rows, the findings of the check, runs and their results."""
