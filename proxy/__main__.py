"""`python -m proxy` is the command `mirrormend`."""

from proxy.cli import main

if __name__ == "__main__":
    main()
