"""`probe`: asks Batch what its documentation leaves open; see `command`."""

from batchpush.cli.probe.command import PURPOSE, add_arguments, probe

__all__ = ["PURPOSE", "add_arguments", "probe"]
