"""The typed schema of the two kinds of YAML file: a challenge, and an entry's config.

Every model is frozen and refuses unknown keys; every default stands here and nowhere else.
"""
