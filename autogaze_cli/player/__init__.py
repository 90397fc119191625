"""One video and its gaze as a page to look at: a self-contained HTML file with a player."""
