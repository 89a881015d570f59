"""The rows of the capability table, an area each; `lorabench.isolation.capabilities` joins them."""
