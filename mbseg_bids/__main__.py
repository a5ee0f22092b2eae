"""``python -m mbseg_bids``: the BIDS App, as ``mbseg-bids`` runs it."""

import sys

from mbseg_bids.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
