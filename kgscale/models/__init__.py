"""Encoders turn a subgraph into vectors, decoders turn vectors into scores."""
