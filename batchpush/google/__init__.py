"""Google services: both databases, Cloud Tasks and credentials."""
