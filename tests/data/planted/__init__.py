"""The controlled world: what it is made of, what it is called, and what models of it use."""
