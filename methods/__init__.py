"""Methods: what a team's own file and a notebook import from here stays where it is.

    from challenge.methods import Method, build, supervised, check, toy_problem

A name is imported when it is used (`__init__.pyi` says from where), so that the command line can
list methods without waiting for torch.
"""

import lazy_loader

import challenge.data  # noqa: F401 -- from then on deepinv is imported quickly

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
