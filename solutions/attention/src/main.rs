//! Serves the parts of this solution to the judge.

wick::serve!(attention_solution);
