"""A second world of simulated heads with known microbleeds, on which the App is tried and nothing is ever trained."""
