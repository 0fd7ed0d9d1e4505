"""OpenAI's responses, without state.

It refuses what a server would have to remember, unless a setting allows it, and unknown items and tools.
Begin with `dialect`, then `request` for requests and `answer` for answers.
"""
