"""Videos in and out: containers, sampling, resizing, palettes and encoders."""
