"""`python -m pipeline`: the command `feedback`, also where no script is installed."""

from pipeline.cli import main

main()
