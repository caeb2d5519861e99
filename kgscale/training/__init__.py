"""Training with Lightning: modules, data, optimisers, checkpoints, several processes."""
