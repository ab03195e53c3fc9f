"""`make race`: measures a student's ring beside the fast one and what the kernel has, and draws the picture."""
