"""The embedded stack: a broker and the six services as child processes of one small supervisor.

``layout`` says where things lie, ``broker`` how the broker is started, ``child`` what one process is, ``supervisor``
keeps them running, ``probe`` asks who is ready, ``control`` is what commands use. The supervisor imports neither typer
nor rich.
"""
