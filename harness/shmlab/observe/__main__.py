"""`python3 -m shmlab.observe`."""
from .command import run

run()
