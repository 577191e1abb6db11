//! Hooks: places in a transformer, by the names and with the shapes of TransformerLens.
//!
//! A model hands its value at each [`Hook`] to a [`Hooks`] and goes on with what comes back.
//! Whoever only looks returns the value as it came; whoever intervenes returns another one.
//!
//! | [`Place`] | name | shape |
//! |---|---|---|
//! | `Embed` | `hook_embed` | `(batch, seq, d_model)` |
//! | `PosEmbed` | `hook_pos_embed` | `(batch, seq, d_model)` |
//! | `ResidPre` | `blocks.0.hook_resid_pre` | `(batch, seq, d_model)` |
//! | `Norm1Scale` | `blocks.0.ln1.hook_scale` | `(batch, seq, 1)` |
//! | `Norm1` | `blocks.0.ln1.hook_normalized` | `(batch, seq, d_model)` |
//! | `Q, K, V` | `blocks.0.attn.hook_q`, `…_k`, `…_v` | `(batch, seq, n_heads, d_head)` |
//! | `Scores` | `blocks.0.attn.hook_attn_scores` | `(batch, n_heads, seq_q, seq_k)` |
//! | `Pattern` | `blocks.0.attn.hook_pattern` | `(batch, n_heads, seq_q, seq_k)` |
//! | `Z` | `blocks.0.attn.hook_z` | `(batch, seq, n_heads, d_head)` |
//! | `AttnOut` | `blocks.0.hook_attn_out` | `(batch, seq, d_model)` |
//! | `ResidMid` | `blocks.0.hook_resid_mid` | `(batch, seq, d_model)` |
//! | `Norm2Scale` | `blocks.0.ln2.hook_scale` | `(batch, seq, 1)` |
//! | `Norm2` | `blocks.0.ln2.hook_normalized` | `(batch, seq, d_model)` |
//! | `MlpPre, MlpPost` | `blocks.0.mlp.hook_pre`, `…_post` | `(batch, seq, d_mlp)` |
//! | `MlpOut` | `blocks.0.hook_mlp_out` | `(batch, seq, d_model)` |
//! | `ResidPost` | `blocks.0.hook_resid_post` | `(batch, seq, d_model)` |
//! | `FinalScale` | `ln_final.hook_scale` | `(batch, seq, 1)` |
//! | `FinalNorm` | `ln_final.hook_normalized` | `(batch, seq, d_model)` |
//!
//! Scores are scaled and masked: what a query may not see is −∞ there.
//! A norm's value is the one with weight and bias, and its scale the root that it divides by.
//!
//! **Invariant:** a name is the name of one hook, and a hook has one name.

use std::{fmt, str::FromStr};

use candle_core::{Error, Result, Tensor};

/// A kind of place in a transformer, in the order in which a model comes to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The tokens' embeddings.
    Embed,
    /// The positions' embeddings.
    PosEmbed,
    /// The residual stream before a block.
    ResidPre,
    /// What the norm before attention divides by.
    Norm1Scale,
    /// What attention reads.
    Norm1,
    /// Queries.
    Q,
    /// Keys.
    K,
    /// Values.
    V,
    /// Scores, scaled and masked.
    Scores,
    /// Softmax of the scores.
    Pattern,
    /// The pattern's mix of values.
    Z,
    /// What attention adds to the stream.
    AttnOut,
    /// The residual stream between attention and MLP; a block without MLP has none.
    ResidMid,
    /// What the norm before the MLP divides by.
    Norm2Scale,
    /// What the MLP reads.
    Norm2,
    /// The inside of the MLP, before its bend.
    MlpPre,
    /// The inside of the MLP, after its bend.
    MlpPost,
    /// What the MLP adds to the stream.
    MlpOut,
    /// The residual stream after a block.
    ResidPost,
    /// What the last norm divides by.
    FinalScale,
    /// What is unembedded.
    FinalNorm,
}

impl Place {
    /// All places, in their order.
    pub const ALL: [Self; 21] = [
        Self::Embed,
        Self::PosEmbed,
        Self::ResidPre,
        Self::Norm1Scale,
        Self::Norm1,
        Self::Q,
        Self::K,
        Self::V,
        Self::Scores,
        Self::Pattern,
        Self::Z,
        Self::AttnOut,
        Self::ResidMid,
        Self::Norm2Scale,
        Self::Norm2,
        Self::MlpPre,
        Self::MlpPost,
        Self::MlpOut,
        Self::ResidPost,
        Self::FinalScale,
        Self::FinalNorm,
    ];

    /// Whether every block has one, rather than the model as a whole.
    #[must_use]
    pub fn is_in_block(self) -> bool {
        !matches!(self, Self::Embed | Self::PosEmbed | Self::FinalScale | Self::FinalNorm)
    }

    /// Its name, without that of the block.
    fn name(self) -> &'static str {
        match self {
            Self::Embed => "hook_embed",
            Self::PosEmbed => "hook_pos_embed",
            Self::ResidPre => "hook_resid_pre",
            Self::Norm1Scale => "ln1.hook_scale",
            Self::Norm1 => "ln1.hook_normalized",
            Self::Q => "attn.hook_q",
            Self::K => "attn.hook_k",
            Self::V => "attn.hook_v",
            Self::Scores => "attn.hook_attn_scores",
            Self::Pattern => "attn.hook_pattern",
            Self::Z => "attn.hook_z",
            Self::AttnOut => "hook_attn_out",
            Self::ResidMid => "hook_resid_mid",
            Self::Norm2Scale => "ln2.hook_scale",
            Self::Norm2 => "ln2.hook_normalized",
            Self::MlpPre => "mlp.hook_pre",
            Self::MlpPost => "mlp.hook_post",
            Self::MlpOut => "hook_mlp_out",
            Self::ResidPost => "hook_resid_post",
            Self::FinalScale => "ln_final.hook_scale",
            Self::FinalNorm => "ln_final.hook_normalized",
        }
    }
}

/// One place in one model.
///
/// # Example: names are those of TransformerLens
///
/// ```
/// use models::hook::{Hook, Place};
///
/// let hook: Hook = "blocks.1.attn.hook_pattern".parse()?;
/// assert_eq!(hook, Hook::in_block(Place::Pattern, 1));
/// assert_eq!(Hook::in_block(Place::ResidPre, 0).to_string(), "blocks.0.hook_resid_pre");
/// assert_eq!(Hook::of_model(Place::Embed).to_string(), "hook_embed");
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hook {
    /// Which kind of place.
    pub place: Place,
    /// In which block; a place of the whole model has none.
    pub layer: Option<usize>,
}

impl Hook {
    /// A place in a block, such as [`Place::Pattern`].
    #[must_use]
    pub fn in_block(place: Place, layer: usize) -> Self {
        Self { place, layer: Some(layer) }
    }

    /// A place of the whole model, such as [`Place::Embed`].
    #[must_use]
    pub fn of_model(place: Place) -> Self {
        Self { place, layer: None }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(layer) = self.layer {
            write!(out, "blocks.{layer}.")?;
        }
        out.write_str(self.place.name())
    }
}

impl FromStr for Hook {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let in_block = name.strip_prefix("blocks.").and_then(|rest| rest.split_once('.'));
        let (layer, rest) = match in_block {
            Some((layer, rest)) => (layer.parse().ok(), rest),
            None => (None, name),
        };
        let place = Place::ALL.into_iter().find(|place| place.name() == rest);
        let hook = place.map(|place| Self { place, layer });
        // Written again, the name is the same: so `blocks.01.hook_q` and the like are refused.
        let is_whole = |hook: &Self| {
            hook.layer.is_some() == hook.place.is_in_block() && hook.to_string() == name
        };
        hook.filter(is_whole).ok_or_else(|| {
            Error::Msg(format!("`{name}` is no hook; one is called `blocks.0.hook_resid_pre`"))
        })
    }
}

/// What happens at the hooks of a forward pass.
///
/// `()` does nothing and costs nothing; a closure `|hook: Hook, value: Tensor| …` is one too.
/// A model takes them as `&mut (impl Hooks + ?Sized)`, so `&mut dyn Hooks` serves as well.
///
/// # Example: a transformer of one's own with hooks
///
/// The places that a model has are the model's choice; nothing here knows [`crate::Gpt`].
///
/// ```
/// use candle_core::{Device, Result, Tensor};
/// use models::hook::{Hook, Hooks, Place};
///
/// /// Adds one in its only block.
/// fn mine(tokens: &Tensor, hooks: &mut (impl Hooks + ?Sized)) -> Result<Tensor> {
///     let resid_pre = hooks.at(Hook::in_block(Place::ResidPre, 0), tokens.clone())?;
///     hooks.at(Hook::in_block(Place::ResidPost, 0), (resid_pre + 1.0)?)
/// }
///
/// let tokens = Tensor::new(&[[1f32, 2.]], &Device::Cpu)?;
/// assert_eq!(mine(&tokens, &mut ())?.to_vec2::<f32>()?, [[2., 3.]]);
///
/// // Looks everywhere, and makes the stream ten times as large where the block begins.
/// let mut seen = Vec::new();
/// let mut hooks = |hook: Hook, value: Tensor| {
///     seen.push(hook.to_string());
///     if hook.place == Place::ResidPre { value * 10.0 } else { Ok(value) }
/// };
/// assert_eq!(mine(&tokens, &mut hooks)?.to_vec2::<f32>()?, [[11., 21.]]);
/// assert_eq!(seen, ["blocks.0.hook_resid_pre", "blocks.0.hook_resid_post"]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub trait Hooks {
    /// Takes the value at a hook, and gives what the model goes on with, of the same shape.
    ///
    /// # Errors
    ///
    /// Fails as it likes; the forward pass ends with that error.
    fn at(&mut self, hook: Hook, value: Tensor) -> Result<Tensor>;
}

impl Hooks for () {
    fn at(&mut self, _hook: Hook, value: Tensor) -> Result<Tensor> {
        Ok(value)
    }
}

impl<F: FnMut(Hook, Tensor) -> Result<Tensor>> Hooks for F {
    fn at(&mut self, hook: Hook, value: Tensor) -> Result<Tensor> {
        self(hook, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back() {
        for place in Place::ALL {
            let layers: &[Option<usize>] =
                if place.is_in_block() { &[Some(0), Some(1), Some(10)] } else { &[None] };
            for &layer in layers {
                let hook = Hook { place, layer };
                assert_eq!(hook.to_string().parse::<Hook>().unwrap(), hook);
            }
        }
    }

    #[test]
    fn places_are_in_their_order() {
        assert!(Place::ALL.is_sorted());
    }

    #[track_caller]
    fn check(name: &str) {
        let said = name.parse::<Hook>().unwrap_err().to_string();
        assert!(said.contains(&format!("`{name}` is no hook")), "{said}");
    }

    #[test]
    fn other_names_are_refused() {
        check("");
        check("hook_q");
        check("attn.hook_q");
        check("hook_resid_pre");
        check("blocks.0.hook_embed");
        check("blocks.00.hook_resid_pre");
        check("blocks.+1.hook_resid_pre");
        check("blocks.x.hook_resid_pre");
        check("blocks.0.hook_resid_pre ");
        check("blocks.0.");
    }
}
