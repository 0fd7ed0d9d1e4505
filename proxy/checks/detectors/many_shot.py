"""Faked dialogues: many turns within one text."""

from __future__ import annotations

from proxy.checks.detectors.detector import Detector, fixed

SHOTS = 32
"""So many turns within one text are a faked dialogue."""

MANY_SHOT = Detector(
    "many_shot",
    f"a dialogue of {SHOTS} turns or more within one text; each turn from that one on",
    fixed(
        r"(?m:^)[ \t>*_#(\"'-]{0,4}(?i:user|human|assistant|ai|bot|chatbot|model|question|answer|q|a|me|you|"
        r"system|customer|"
        r"agent)[ \t*_]{0,3}\d{0,4}[*_]{0,2}:"
    ),
    ("\n".join(f"{'User' if i % 2 == 0 else 'Assistant'}: line {i}" for i in range(SHOTS)),),
    ("User: hi\nAssistant: hello", "a: 1\nb: 2", "\n".join(f"Q: {i}" for i in range(SHOTS - 1))),
    nth=SHOTS,
)
