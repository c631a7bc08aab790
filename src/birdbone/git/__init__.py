"""The project's life in git: configuration and notebook diffs, hooks, and the gate of a pull
request.
"""
