"""The conformance suite, put to guards whose verdict is known."""
