"""The one seed of a run: `TORTURE_SEED`, or another each time."""

import os
import random

SEED = int(os.environ.get("TORTURE_SEED") or random.SystemRandom().randrange(1, 2**32))
