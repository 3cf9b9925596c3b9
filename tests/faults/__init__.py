"""Tests with killed processes, cut connections, full disks and races."""
