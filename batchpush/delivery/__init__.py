"""From a change to a push that is sent once, with a record that says so."""
