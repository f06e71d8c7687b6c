"""Benchmarks: what the product does per second, as ratios to a hand-written loop run beside it.

    python -m bench [NAME ...] [--events N] [--quick]

Nothing of `kappa` imports this package. README.md says what each benchmark measures, and how.
"""

import sys
from pathlib import Path

# The events and the generator of the shop are measured as they are.
SHOP = Path(__file__).parent.parent / "examples" / "shop"
sys.path.insert(0, str(SHOP))
