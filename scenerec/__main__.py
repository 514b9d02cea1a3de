"""`python -m scenerec`: the command line."""

from scenerec.cli import main

main()
