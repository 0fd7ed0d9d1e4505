"""The safety proxy: a guard between chat apps and a model on your own machine.

The nouns, and where they live:

    Check      points at spans of a text; it never returns text                         core.check, checks, matching
    Finding    a rule's match: where it starts and ends in the original text            core.types
    Gate       one channel's text (a field of a choice), held until every check has
               decided it; what comes out may be shown                                  core.gate
    Guard      one exchange: its gates, and what has been cut                           core.guard
    Dialect    a wire format: bytes to frames and back; it knows no check               dialects
    Policy     what an operator wrote, compiled; a PolicySet is all that is in force    policy
    Relay      the loop that carries bytes: the only place that waits                   server.relay

The path of a token, from the model server to the chat app:

    upstream bytes -> Answer.feed -> Frame(deltas, raw) -> Guard.release -> Gate.feed -> what may go out
        nothing had to be done:  the frame's raw bytes, as they came
        something is held:       the rest; what was held follows as soon as it is decided
        a rule rewrites:         the text before it, a label in its place
        a rule blocks:           the text before it, a notice, a proper end; the model is stopped

A prompt goes the other way: parsed, every text judged (core.prompt), serialised anew, never forwarded as it came.

Layers: errors < core < matching < checks | dialects < policy < server < demo < cli. An import goes down; the inner four
are pure. Two promises hold everywhere: what a policy hides never leaves, not one character, at any chunking; and a
character waits only while it can still become part of a match.
"""

__version__ = "0.1.0"
