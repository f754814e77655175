"""What can be sent: pushes, campaigns and their texts, by the rules of Batch. Pure."""
