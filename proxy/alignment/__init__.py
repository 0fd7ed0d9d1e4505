"""What a model claims to be: instruct, base, unaligned or unknown, with the evidence. The server asks, this judges.

It refuses to guess: what says nothing does not vote, and where signals disagree the worst of them counts.
Begin with `claims`, then `words` and `names`; `ollama`, `llama_cpp` and `lmstudio` read what each model server says.
"""
