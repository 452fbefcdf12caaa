"""ProjFactor over VLoRP for PyTorch.

    from vlorp.optim import ProjFactor

trains every weight of a model in little more memory than the weights: projected gradients of the targeted matrices, one
momentum of their size, row and column sums.  ``vlorp.binding`` is the C library without torch.
"""

__version__ = "0.1.0"
