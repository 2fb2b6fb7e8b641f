"""What comes in and what comes out: `Snapshots` and `Paths`, and the `Trajectories` of simulations.

Here is the one reader of AnnData, DataFrames and arrays, the one comparison of times, and the
files of trajectories. Nothing here fits or simulates, and no model is known; what a fitted model
remembers of its data is a `Provenance`.

* `time_reading`, `times`: reading of times, and whether two of them are one.
* `words`: names and times as messages show them.
* `arrays`, `columns`, `conditions`, `representation`: what a user's objects hold, as plain arrays.
* `reading`: data for a fit, and for what is asked of a fitted model.
* `snapshots`, `paths`, `trajectories`: the three containers; `storage`, `trajectory_file` and
  `display` are their doors to AnnData and xarray, to files, and to the screen.
"""
