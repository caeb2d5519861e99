"""What is odd about a graph as a benchmark, and as something to learn from: counted, not judged."""
