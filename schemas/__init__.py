"""What can happen, and the values it is made of: events, their wire form, exact numbers, names."""
