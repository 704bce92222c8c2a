"""HTTP: routes, versions, bodies, errors."""
