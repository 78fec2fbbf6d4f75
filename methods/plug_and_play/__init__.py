"""Plug-and-play: denoisers as priors, and the denoisers themselves."""
