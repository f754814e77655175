"""The services of Google: both databases, Cloud Tasks, Secret Manager, credentials."""
