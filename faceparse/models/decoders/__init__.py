"""One paper, one file: each decoder takes features, finest first, and returns one map of `out_channels` channels."""
