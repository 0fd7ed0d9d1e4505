"""The safety proxy: a guard between chat apps and a model on your own machine.

The nouns, and where they live:

    Check      points at spans of a text; it never returns text                         core.check, checks, matching
    Finding    a rule's match: where it starts and ends in the original text            core.types
    Gate       one channel's text (a field of a choice), held until every check has
               decided it; what comes out may be shown                                  core.gate
    Guard      the gates of one answer, and which of its choices are blocked            core.guard
    Dialect    a wire format: bytes to frames and back; it knows no check               dialects
    Policy     what an operator wrote, compiled; a PolicySet is all that is in force    policy
    Exchange   one request and its answer, from the first byte to the last              server.handlers.guarded

The way of a token, from the model server to the chat app:

    upstream bytes -> Answer.take -> Frame(deltas, raw) -> Guard.release -> Gate.feed -> what may go out
        nothing had to be done:  the frame's raw bytes, as they came
        something is held:       the rest; what was held follows as soon as it is decided
        a rule rewrites:         the text before the match, and a label in place of the match
        a rule blocks:           the text before the match, a notice, a proper end; the model is stopped

A prompt goes the other way: it is parsed, all of its texts are judged (core.prompt, server.exchange.prompt_filter), and
it is written anew. The client's bytes are never forwarded.

Layers: errors < core < matching < checks | dialects < policy < alignment < server < demo < startup < cli | asgi. An
import goes down; everything below server is pure, but for reading policy files. Two promises hold everywhere: what a
policy hides never leaves, not one character, at any chunking; and a character waits only while it can still become part
of a match.

Begin with core.check. docs/architecture.md draws the packages and walks through them.
"""

__version__ = "0.1.0"
