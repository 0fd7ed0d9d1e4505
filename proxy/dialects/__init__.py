"""What each wire format looks like: requests in, answers through. A dialect knows no check and does no I/O."""
