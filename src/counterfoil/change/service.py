"""The path of a change in one running company: plans, their application, and Runs that are moved."""

from __future__ import annotations

from counterfoil.change.apply import Applier, TakeUp, Try
from counterfoil.change.history import History
from counterfoil.change.migrate import RunMigrator
from counterfoil.change.plan import Impacts, Planner
from counterfoil.change.verdicts import Models
from counterfoil.store.port.store import Store
from counterfoil.store.port.views import Views


class ChangePath:
    """What doors and pages need for changes."""

    def __init__(
        self, store: Store, views: Views, models: Models, impacts: Impacts, try_: Try, take_up: TakeUp
    ) -> None:
        self.models = models
        self.planner = Planner(store, views, models, impacts)
        self.history = History(store)
        self.mover = RunMigrator(store, models)
        self.applier = Applier(store, views, models, try_, take_up, self.mover)
