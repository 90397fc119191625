"""Training of the bundled model: footage, teacher, simulator, network, loop. See README.md."""
