//! What a run on Apple's Metal needs.

use crate::Need;

/// What a run on Metal needs.
#[must_use]
pub fn metal() -> Vec<Need> {
    let need = if cfg!(target_os = "macos") {
        // Its shading language has no `double`: right answers would fail every check in `f64`.
        let what = "checks ask in f64 too, which Metal cannot compute in";
        Need::lacking("support", what, "use the CPU: --device cpu")
    } else {
        let what = "Metal is Apple's, and this is no Mac";
        Need::lacking("macOS", what, "use the CPU: --device cpu")
    };
    vec![need]
}
