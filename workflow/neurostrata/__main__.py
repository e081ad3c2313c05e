"""Entry point of ``python -m neurostrata STAGE ...`` and of ``python workflow/neurostrata STAGE ...``."""

if not __package__:  # run by the folder's path: nothing has put the library on the path yet
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])

from neurostrata.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
