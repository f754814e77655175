"""Pushes, campaigns and their texts, validated by Batch's rules. Pure."""
