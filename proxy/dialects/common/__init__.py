"""What several vendors' dialects share: allow-lists of requests and answers, limits, nested texts, upstream errors.

It refuses keys that only look known, values of a wrong type, and too many texts; it imports no vendor.
Begin with `request_fields` for requests, `answer_fields` for lists, `named_events` for streams.
"""
