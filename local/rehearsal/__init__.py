"""`make rehearse`: a deployment with the real Firebase CLI, to a Google Cloud on this machine.

    a copy of this folder --> `batchpush deploy` --> Firebase CLI --> emulators.google_cloud
                                                                             |           |
                                                                        the archive    events,
                                                                             |          tasks,
                        Batch <-- functions-framework <-- fresh venv <-------+        schedules
                                           ^                                             |
                                           +---------------------------------------------+

No terminal, no account, and no way out: the proxy of every program leads to the emulator only.
"""
