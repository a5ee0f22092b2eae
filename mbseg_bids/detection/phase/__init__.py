"""What the phase says of a candidate: the dipole about it, the scan's convention of sign, blood or calcium."""
