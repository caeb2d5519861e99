"""Questions of several hops with and, or, not, answered by a link predictor as it is."""
