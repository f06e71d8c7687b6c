"""Event logs, keyed views and safe reprocessing: what a project imports to declare its events and views."""

from kappa.model.events import Event
from kappa.model.folds import average, count, distinct, first, latest, maximum, minimum, total
from kappa.model.handlers import on
from kappa.model.migrations import migrate
from kappa.model.views import View

__all__ = [
    "Event",
    "View",
    "average",
    "count",
    "distinct",
    "first",
    "latest",
    "maximum",
    "migrate",
    "minimum",
    "on",
    "total",
]
