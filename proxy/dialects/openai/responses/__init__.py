"""OpenAI's responses, without state.

It refuses what a server would have to remember, unless a setting allows it, and unknown items and tools.
Begin with `dialect`, then `request` for the way there and `answer` for the way back.
"""
