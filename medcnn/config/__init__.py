"""Settings: dataclass schemas, composing, checking."""
