"""What clients may ask of a member, by whichever interface.

Each rule stands here once. The HTTP API, the client, the commands and the embedded member import it, so all of them
accept and refuse the same. What is refused raises a RequestError, whose kind each interface tells in its own way.

Rules for plain arguments (`arguments`) import nothing from elsewhere, and the core checks what it is given by them.
Rules about rows and tables (`view`) use the core's values. An import contract holds this order.
"""
