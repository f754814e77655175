"""What starts the local suite and shows it: the emulators, the demo, a browser."""
