//! What the parts of `exercises/tensors` may call.

use crate::SourceRule;

/// `broadcast_shapes`: not candle's own.
pub(super) const NO_READY_SHAPES: SourceRule = SourceRule {
    only: &[],
    never: &["broadcast_shape_binary_op"],
    reason: "Candle's own rule would do the work; decide axis by axis.",
};

/// `broadcast_to`: nothing that repeats by itself.
pub(super) const NO_READY_BROADCAST: SourceRule = SourceRule {
    only: &[],
    #[rustfmt::skip]
    never: &[
        "broadcast_as", "broadcast_left", "expand", "repeat",
        "broadcast_add", "broadcast_sub", "broadcast_mul", "broadcast_div", "broadcast_pow",
        "broadcast_maximum", "broadcast_minimum", "broadcast_matmul",
    ],
    reason: "Candle's own broadcasting would do the work; find the strides and call \
             `strided_view`.",
};
