"""The AsyncAPI document of every subject, and the command that writes all generated documents."""
