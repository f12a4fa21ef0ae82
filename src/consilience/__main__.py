"""`python -m consilience`: the command line."""

from consilience.cli import main

main()
