"""`init`: write the files of a deployment, and say what an existing project has to add."""

from batchpush.cli.init.command import EXAMPLES, PURPOSE, add_arguments, init

__all__ = ["EXAMPLES", "PURPOSE", "add_arguments", "init"]
