"""The canonical library of order-to-cash as data: objects, events and operations by name and version."""
