"""Real client packages through the proxy: what they show the people who use them."""
