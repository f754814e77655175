"""Firestore's messages, compiled from `firestore.proto` by `make protocol`."""
