"""NLPO: PPO with a mask over the vocabulary (Ramamurthy et al. 2023, arXiv 2210.01241, section 4).

The mask is a part of the policy: answers are sampled under it, and the ratio is one of masked probabilities. So nothing
in the formulas differs from PPO; what differs is `networks.mask` (preceptor/rlhf/nucleus.py), which is renewed every
`mask_every` iterations and read with the policy.
"""

from preceptor.rlhf.algorithms.ppo import advantages, loss

__all__ = ["advantages", "loss"]
