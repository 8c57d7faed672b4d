"""The demonstration: a district portal with the widget on it, and visitors who read it."""
