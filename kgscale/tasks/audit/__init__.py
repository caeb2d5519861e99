"""What a survey of a graph means: a verdict in words, and what to do about it."""
