"""Transfer: retrieve, correct, hash, store, record; killable at any instant."""
