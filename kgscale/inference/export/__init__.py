"""What a model has learned, for other programs: tables of vectors, an index, networks."""
