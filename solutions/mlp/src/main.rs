//! Serves the parts of this solution to the judge.

wick::serve!(mlp_solution);
