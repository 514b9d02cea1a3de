"""Which of several frozen backbones suits a labelled set: features that are computed once, and heads upon them."""
