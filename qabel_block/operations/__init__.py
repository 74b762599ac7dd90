"""What can be done here: one operation for each thing a client may ask for."""
