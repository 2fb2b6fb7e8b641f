"""Names under which results are written into an AnnData."""

VELOCITY = "dyninfer_velocity"  # obsm: velocity of every cell, features per time unit
EXPRESSION = "dyninfer_expression"  # layer: decoded expression, which the velocity moves
TIME = "dyninfer_time"  # obs: time at which a state like the cell's is expected
TIME_SD = "dyninfer_time_sd"  # obs: its standard deviation
GROWTH = "dyninfer_growth"  # obs: growth rate of every cell, per time unit
GROWTH_PRIOR = "dyninfer_growth_prior"  # obs: log-growth expected of every cell, per time unit
POTENTIAL = "dyninfer_potential"  # obs: potential whose gradient is the velocity
STATE = "dyninfer_state"  # obs: most probable discrete state of every row
STATE_PROBABILITY = "dyninfer_state_probability"  # obs: its probability
FATES = "dyninfer_fates"  # obsm: probability of every fate; uns: names and settings
FATE = "dyninfer_fate"  # obs: most probable fate of every cell
FATE_ENTROPY = "dyninfer_fate_entropy"  # obs: entropy of its fates, in nats
UNS = "dyninfer"  # uns: settings and provenance, as JSON
TRAJECTORIES = "dyninfer_trajectories"  # uns: what trajectories need to be read back
