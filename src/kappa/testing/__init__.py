"""For those who test. For users: `fold_all` folds events in memory, by the kernel itself, with nothing running.

For those who write adapters: the laws of each port as a suite that an adapter's test subclasses, in the modules here;
they need pytest and hypothesis. No other part of the package imports this one.
"""

import sys

from kappa.errors import FoldFailed
from kappa.model.harness import fold_all

# So that a broken law shows its values. Other processes of a suite come here too, and do without pytest.
if "pytest" in sys.modules:
    sys.modules["pytest"].register_assert_rewrite(
        "kappa.testing.control_bundle_laws",
        "kappa.testing.control_conformance",
        "kappa.testing.control_plan_laws",
        "kappa.testing.control_rejected_laws",
        "kappa.testing.control_release_laws",
        "kappa.testing.control_version_laws",
        "kappa.testing.engine_conformance",
        "kappa.testing.lock_conformance",
        "kappa.testing.log_conformance",
        "kappa.testing.view_query_laws",
        "kappa.testing.view_reading_laws",
        "kappa.testing.view_values_laws",
        "kappa.testing.views_conformance",
    )

__all__ = ["FoldFailed", "fold_all"]
