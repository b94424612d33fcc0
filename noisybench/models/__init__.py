"""Networks.  A model is one registered function from a shape and a number of classes to a module."""

from noisybench.models import builtin as builtin
