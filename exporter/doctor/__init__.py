"""``check-config --online``: tests a configuration against the API, and says what to do about problems.

`probe` asks the API, `state` looks at the store, `run` at the proxy variables. Everything else is pure and
turns answers into findings, and findings into lines. Planner and job lists of the poller decide what is asked
and what polling costs.
"""
