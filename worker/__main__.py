"""`python -m worker` is `digit-worker`."""

import sys

from worker.cli import main

sys.exit(main())
