"""How networks compute: the twin that attacks work on, precision, memory, what is counted."""
