"""`python -m batchpush`: see `cli.main`."""

import sys

from batchpush.cli.main import main

sys.exit(main())
