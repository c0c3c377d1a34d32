"""So that `python -m workbench.cli` is the command too."""

from workbench.cli import main

main()
