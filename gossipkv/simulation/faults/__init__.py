"""What goes wrong in a run: faults at random times, faults that wait for their moment, and strangers."""
