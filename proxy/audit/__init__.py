"""An audit of a model before it is put behind a chatbot: prompts are asked, the answers are counted and shown.

It asks what an operator has written or what comes with it, direct and through the policies. It refuses to count an
answer that never came as a refusal, and it never says more than phrase rules can know. Begin with `run`.
"""
