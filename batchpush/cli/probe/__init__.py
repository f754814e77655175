"""`probe`: asks Batch what its documentation leaves open; see `command`."""

from batchpush.cli.probe.command import EXAMPLES, PURPOSE, add_arguments, probe

__all__ = ["EXAMPLES", "PURPOSE", "add_arguments", "probe"]
