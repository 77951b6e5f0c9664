"""The change service of one company: plans, their application, the history, and moves of Runs."""

from __future__ import annotations

from counterfoil.change.apply import Applier
from counterfoil.change.history import History
from counterfoil.change.migrate import RunMigrator
from counterfoil.change.plan import Planner
from counterfoil.change.ports import ChangePorts
from counterfoil.store.port.store import Store
from counterfoil.store.port.views import Views


class ChangeService:
    """The parts of the change service that the API, the pages and the command line call."""

    def __init__(self, store: Store, views: Views, ports: ChangePorts) -> None:
        self.model = ports.model
        self.planner = Planner(store, views, ports)
        self.history = History(store)
        self.mover = RunMigrator(store, ports.model)
        self.applier = Applier(store, views, ports, self.mover)
