"""Guard models: engines that turn (policy, content) pairs into scores."""
