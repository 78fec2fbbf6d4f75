"""Pages of one file that open from disk: no network, and no word of a stranger acts in them."""
