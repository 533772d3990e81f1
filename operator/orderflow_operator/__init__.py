"""The operator: it turns an ``OrderFlow`` resource into running processors and carries every change of it out."""
