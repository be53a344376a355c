"""Jogak (조각): a local studio that sculpts pictures and short films out of noise."""

__version__ = "0.1.0"
