"""`python -m kappa`: the same as the command `kappa`."""

from kappa.cli import main

main()
