//! What the parts of `exercises/tensors` may call.

use crate::SourceRule;

/// `broadcast_shapes`: not candle's own.
pub(super) const NO_READY_SHAPES: SourceRule = SourceRule {
    only: &[],
    never: &["broadcast_shape_binary_op"],
    reason: "Candle's own rule would do the work; decide axis by axis.",
};
