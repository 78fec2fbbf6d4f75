"""Hostile entries, each with what must come of it at every level of isolation.

An attack is the source of a small `method.py`, played by `submissions/numpy_runner.py`, together
with `evidence`: whether it had its effect, as seen from outside the jail. One test runs every
attack at every level:

- at a level of `stopped`, there must be no evidence;
- at any other level there must be: an attack that fails by itself proves nothing. Where that
  cannot be shown (it needs root, or would harm this machine), the attack says so in words;
- the outcome is the one stated, the supervisor is back in time, and nothing is left behind.

Families: `files`, `network`, `processes`, `signals`, `kernel`, `memory`, `time`, `answers`,
`disk`, `cheating`; `intake` holds hostile zips.
"""
