"""What tests put in the place of the services outside; it is not uploaded with the functions."""
