"""`preview`: shows what a document would cause, without sending any; see `command`."""

from batchpush.cli.preview.command import EXAMPLES, PURPOSE, add_arguments, preview

__all__ = ["EXAMPLES", "PURPOSE", "add_arguments", "preview"]
