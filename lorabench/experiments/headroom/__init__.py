"""How idle a serving host is, and how much of that training may use."""
