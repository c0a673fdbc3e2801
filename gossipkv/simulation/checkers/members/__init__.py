"""What members find out about each other and themselves: who lives, whose volume is old, whose clock is off."""
