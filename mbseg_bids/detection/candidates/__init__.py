"""What looks at each candidate as a whole: its measures, a small network, and the classifier made of both."""
