"""ganbench: an honest benchmark of generative adversarial networks and their structured relatives."""

__version__ = "0.1.0"
