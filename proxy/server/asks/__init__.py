"""Who answers the questions of checks that ask: services over HTTP, worker processes, models.

It judges no text and never sees a policy: a question is data, and so is the answer. One that is not answered in time,
or not at all, is answered with a CheckFailed; the check's policy says what becomes of the text.
Begin with `asker`: the questions of one exchange. `desk` has those who answer.
"""
