"""Given labels: the noises, drawing them, label files of every format, open-set images, and masks.

noises     the kinds of noise that `--noise` can name
noise      Noise, the contract that every one of them keeps
drawing    drawing labels from a transition matrix, and measuring what was drawn
open_set   images of another data set in the place of training images
manifest   noisybench's own file of noisy labels
masks      the file of samples to keep that `noisybench prune` writes
label_file labels from a file without a noise model
inputs     a Config with the files that it was given
"""
