"""What a policy can name: `detector: email`.

detector.py  what a detector is
patterns.py  its pattern as regular expressions, for whole texts and for their ends
scan.py      it at work in a stream
catalogue.py all of them
"""

from proxy.checks.detectors.catalogue import DETECTORS, detector_pass
from proxy.checks.detectors.detector import Detector, Options

__all__ = ["DETECTORS", "Detector", "Options", "detector_pass"]
