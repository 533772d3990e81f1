"""From a resource and its revisions to the objects that it consists of: pure, and the same every time."""
