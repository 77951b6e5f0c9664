"""`python -m counterfoil.twins.stripe`."""

import sys

from counterfoil.twins.stripe import main

sys.exit(main())
