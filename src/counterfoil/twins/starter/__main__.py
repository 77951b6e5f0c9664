"""`python -m counterfoil.twins.starter`."""

import sys

from counterfoil.twins.starter import main

sys.exit(main())
