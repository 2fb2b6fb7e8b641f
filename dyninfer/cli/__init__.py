"""The command line: what can be asked for in a shell, with the names that Python has.

Here belong one file a command (``commands/``), flags made from settings and their docstrings, and
the demonstration. A command reads its arguments, calls the public face of the package, and prints:
what it computes is elsewhere. Nothing slow is imported before it is needed, so that ``--help``
answers at once.
"""
