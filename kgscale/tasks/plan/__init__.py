"""What a run will need, estimated before it starts, and what fits."""
