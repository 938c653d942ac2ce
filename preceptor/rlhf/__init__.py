"""Floor 3: the policy learns from the reward: PPO, and PPO with pretraining gradients mixed in."""
