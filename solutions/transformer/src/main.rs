//! Serves the parts of this solution to the judge.

wick::serve!(transformer_solution);
