"""The project in git: configuration and notebook diffs, hooks, the gate of a pull request."""
