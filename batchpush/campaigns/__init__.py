"""Reconciles Batch's campaigns with their Firestore documents, and pulls their statistics."""
