"""`check`: find what would stop a deployment or its pushes from working, and how to fix it."""

from batchpush.cli.check.command import EXAMPLES, PURPOSE, add_arguments, check

__all__ = ["EXAMPLES", "PURPOSE", "add_arguments", "check"]
