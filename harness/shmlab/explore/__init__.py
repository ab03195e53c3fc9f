"""Runs a lab's programs under every order of their steps, up to a bound, and shows the order that breaks them."""
