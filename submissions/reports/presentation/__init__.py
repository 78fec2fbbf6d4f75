"""A report of methods: problem, architecture, training, evaluation, time, convergence, commands."""
