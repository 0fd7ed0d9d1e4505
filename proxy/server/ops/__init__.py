"""What operators see and do: the admin listener, metrics, the log of decisions, and the watch over policy files.

It refuses web pages and foreign Host names, and it never shows the text of a prompt or an answer.
Begin with `policy_watcher` for reloads (an edit, SIGHUP), `metrics` for what is counted.
"""
