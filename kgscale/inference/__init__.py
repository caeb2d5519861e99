"""From a trained model to vectors of the whole graph, ranks and answers."""
