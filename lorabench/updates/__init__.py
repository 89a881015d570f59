"""How freshness travels from what was just served into what is served next."""
