"""Roundup (https://www.roundup-tracker.org), version 2.4 and later, over its REST interface.

The tracker needs: an account with REST access that may view and edit issues and messages, a string field
`external_ref` on issues that an auditor keeps unique, and, for callbacks, a detector that signs its POSTs.
"""

from counterfoil.connectors.roundup.connector import connect

STAMPS = "seconds"
"""Activity is shown in whole seconds. A tracker may number its changes in a field."""

__all__ = ["STAMPS", "connect"]
