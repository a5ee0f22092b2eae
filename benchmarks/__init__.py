<<<<<<< HEAD
"""Measurements of speed, and worlds to measure accuracy in."""
=======
"""Measurements of speed, memory and behaviour, run from the root of the repository."""
>>>>>>> worlds
