"""Makes numbers of vibration waveforms at the edge: features that travel as ordinary tags."""
