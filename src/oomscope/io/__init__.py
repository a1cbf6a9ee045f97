"""Bytes, whatever they mean: inputs, archives, object stores, files that are written or read whole."""
