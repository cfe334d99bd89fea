"""A trained checkpoint put to use on a person's own pictures; nothing here needs a config or a data set.

From Python, ``lab.apply.trained.Trained`` is all that the commands are made of. This file imports nothing, so that ``--help``
and a mistyped command are answered at once.
"""
