"""Gaze sources side by side: what each shows with how many tokens, and when a model should stop."""
