"""Parts of systems that see: towers, connectors, quantizers, what is learned beside them."""
