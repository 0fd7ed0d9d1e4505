"""A directory of plug-ins, as an operator may have one; the tests start a proxy with it."""
