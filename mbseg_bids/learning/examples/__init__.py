"""Examples to learn from: scans with known lesions, patches cut from them, how they are varied and split."""
