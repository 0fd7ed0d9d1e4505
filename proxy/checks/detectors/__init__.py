"""What a policy can name: `detector: email`. Each finds candidates by their form, and judges them by what is around.

A detector never changes a text, and it finds the same wherever the text is cut.
Begin with `detector` (what a detector is), then `patterns` (its pattern as regular expressions, for whole texts and for
their ends), `scan` (it at work in a stream) and `catalogue` (all of them).
"""

from proxy.checks.detectors.catalogue import DETECTORS, detector_pass
from proxy.checks.detectors.detector import Detector, Options

__all__ = ["DETECTORS", "Detector", "Options", "detector_pass"]
