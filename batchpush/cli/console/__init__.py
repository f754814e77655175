"""`console`: a page on this machine to look into deliveries and campaigns, and to replay."""

from batchpush.cli.console.command import EXAMPLES, PURPOSE, add_arguments, console

__all__ = ["EXAMPLES", "PURPOSE", "add_arguments", "console"]
