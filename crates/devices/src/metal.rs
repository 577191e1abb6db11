//! What a run on Apple's Metal needs.

use crate::Need;

/// What a run on Metal needs.
#[must_use]
pub fn metal() -> Vec<Need> {
    let need = if cfg!(target_os = "macos") {
        let what = "this version of Wick cannot judge on Metal yet";
        Need::lacking("support", what, "judge on the CPU: --device cpu")
    } else {
        let what = "Metal is Apple's, and this is no Mac";
        Need::lacking("macOS", what, "judge on the CPU: --device cpu")
    };
    vec![need]
}
