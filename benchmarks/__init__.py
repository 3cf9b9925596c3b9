"""Measurements of start-up against floors; `make bench` runs them."""
