"""Topics: whether a text is about a subject, by how near its vector is to those of examples.

No number means the same in two embedding models, so a topic has examples on both sides, and where the line runs is
measured. A topic whose examples do not lie on two sides is refused; it never gets a line by guess. Pure: who asks for
the vectors is above. Begin with topic.py:

1. topic.py: what a policy says of a topic
2. measure.py: where the line runs between its examples, and on which side a text is
3. models.py: what embedding models want to read before a text
"""
