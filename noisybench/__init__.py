"""Benchmark the training of image classifiers with noisy labels.

The library part is small and importable piece by piece: `noisybench.losses` for the losses,
`noisybench.labels.noises` for transition matrices, `noisybench.labels.drawing` for drawing labels.  Nothing
heavy is imported here.
"""

__version__ = "0.1.0"
