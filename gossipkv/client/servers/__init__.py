"""Which server gets a request, how the request is sent, and the paths and events of HTTP."""
