"""Colours of labels, where they have none of their own."""

# Okabe and Ito's palette without black, for every kind of colour vision.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#f0e442")
