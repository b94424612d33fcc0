"""Ways of training: everything that `--loss` can name, a file each.

A plain loss function is lifted to a Method (`LossMethod`): it is one registered function from logits
(n, classes) and given labels (n,) to per-sample losses (n,).  What needs more is a class: see `Method`.
"""

# Tables list methods in the order in which they are registered: first loss functions, those of the paper
# before others; then the methods of the paper; then other methods.
# isort: off
from noisybench.losses import per_sample as per_sample
from noisybench.losses import robust as robust
from noisybench.methods import trunc_lq as trunc_lq
from noisybench.methods import forward as forward
from noisybench.methods import wang2018 as wang2018
from noisybench.methods import self_paced as self_paced
from noisybench.methods import co_teaching as co_teaching
from noisybench.methods import elr as elr
from noisybench.methods import backward as backward
from noisybench.methods import importance as importance
from noisybench.methods import mentornet as mentornet
from noisybench.methods import co_teaching_plus as co_teaching_plus
from noisybench.methods import jocor as jocor
from noisybench.methods import cores as cores
from noisybench.methods import confusion_layer as confusion_layer
from noisybench.methods import dropout_noise as dropout_noise
from noisybench.methods import noise_adaptation as noise_adaptation
from noisybench.methods import rank_pruning as rank_pruning
from noisybench.methods import joint_optimisation as joint_optimisation
from noisybench.methods import gjs as gjs
from noisybench.methods import dividemix as dividemix
from noisybench.methods import sop as sop
from noisybench.methods import gold as gold
from noisybench.methods import label_cleaning as label_cleaning
from noisybench.methods import reweight as reweight

# isort: on
from noisybench.methods.method import (
    Batch,
    LossMethod,
    Method,
    Run,
    Selection,
    State,
    TrainingData,
    method_of,
    needs,
)

__all__ = ["Batch", "LossMethod", "Method", "Run", "Selection", "State", "TrainingData", "method_of", "needs"]
