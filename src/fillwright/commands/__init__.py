"""What the command line can do, one file a subject, each imported only by the command that needs it.

Decides: what is printed. Must never: do what the engine and its client do, or be imported by anything but `cli`.
"""
