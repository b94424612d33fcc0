"""Given labels: the noises, drawing them, label files of every format, open-set images, and masks.

noise               Noise, the contract that every one of them keeps
noises              the noises that are a transition matrix
open_set            images of another data set in the place of training images
instance_dependent  noise that depends on the pixels
from_file           the noises that a file gives: labels, or a transition matrix
contract            the checks that every noise passes
drawing             drawing labels from a transition matrix, and measuring what was drawn
label_file          labels from a file, without a noise model
readers             reading label files in the formats of others
writers             writing them in the formats of others
manifest            noisybench's own file of noisy labels
masks               the file of samples to keep that `noisybench prune` writes
"""

# Tables list noises in the order in which they are registered: that of the paper, then by year.
# isort: off
from noisybench.labels import noises as noises
from noisybench.labels import open_set as open_set
from noisybench.labels import instance_dependent as instance_dependent
from noisybench.labels import from_file as from_file

# isort: on
from noisybench.labels.noise import CleanData, MatrixNoise, Noise, noise_of

__all__ = ["CleanData", "MatrixNoise", "Noise", "noise_of"]
