"""Networks trained ahead of time on simulated processes, and the programs that trained them."""
