"""What a member takes in at once: connections, bytes of requests, and bytes of answers that wait for slow readers."""
