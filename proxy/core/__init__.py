"""What decides and never waits: no I/O, no clock, no logging; the time is an argument."""
