"""What ``scripts/faults.py`` breaks, a file for each kind."""
