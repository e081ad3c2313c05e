"""Entry point of ``python -m neurostrata STAGE ...``."""

from neurostrata.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
