"""The network and what it sees: patches, weights, the libraries that compute it, a trial of what is installed."""
