"""The AutoGaze network: configuration, checkpoint reading, modules and the decode loop."""
