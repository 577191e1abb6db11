//! Serves the parts of this solution to the judge.

wick::serve!(probing_solution);
