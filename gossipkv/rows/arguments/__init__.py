"""Rules for plain arguments of requests. The core checks by them what it is given."""
