"""Where the gaze comes from: one file per source."""
