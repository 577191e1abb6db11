//! Doses and responses in plain loops, whose steps an impostor can spoil, one at a time.

use anyhow::{Result, ensure};
use candle_core::{DType as CandleDType, Tensor};
use models::{
    Gpt,
    hook::{Hook, Place},
};
use protocol::DType;

use super::border::{array, tensor};
use crate::{Array, args};

/// What is asked of a model.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) tokens: Array,
    pub(super) layer: usize,
    pub(super) direction: Array,
    pub(super) random: Array,
    pub(super) doses: Array,
    pub(super) target: usize,
}

impl Asked {
    pub(super) fn args(&self, model: &Gpt) -> Vec<(&'static str, protocol::Value)> {
        args![model: model, tokens: &self.tokens, layer: self.layer, direction: &self.direction,
              random: &self.random, doses: &self.doses, target: self.target]
    }

    pub(super) fn to(&self, dtype: DType) -> Self {
        let Self { direction, random, doses, .. } = self;
        let [direction, random, doses] = [direction, random, doses].map(|a| a.to(dtype));
        Self { direction, random: random.laid_out(&[1, 0]), doses, ..self.clone() }
    }
}

/// What is taken of the random effects.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Quantile {
    Interpolated,
    Largest,
    Mean,
}

impl Quantile {
    pub(super) fn of(self, mut sizes: Vec<f64>) -> f64 {
        sizes.sort_by(f64::total_cmp);
        let place = 0.95 * (sizes.len() as f64 - 1.0);
        let at = |place: f64| sizes.get(place as usize).copied().unwrap_or(0.0);
        match self {
            Self::Interpolated => {
                at(place.floor()) * (1.0 - place.fract()) + at(place.ceil()) * place.fract()
            }
            Self::Largest => at(sizes.len() as f64 - 1.0),
            Self::Mean => sizes.iter().sum::<f64>() / sizes.len() as f64,
        }
    }
}

/// What may go wrong; [`RIGHT`] is how it should be.
#[expect(clippy::struct_excessive_bools, reason = "each is one step that may be spoiled")]
pub(super) struct Slips {
    pub(super) quantile: Quantile,
    pub(super) signed: bool,
    pub(super) is_unit: bool,
    pub(super) subtracts: bool,
    pub(super) everywhere: bool,
    pub(super) place: Place,
    pub(super) first_only: bool,
    pub(super) control_dose: Option<f64>,
    pub(super) first_random: bool,
    pub(super) checks: bool,
}

pub(super) const RIGHT: Slips = Slips {
    quantile: Quantile::Interpolated,
    signed: false,
    is_unit: true,
    subtracts: true,
    everywhere: false,
    place: Place::ResidPost,
    first_only: false,
    control_dose: None,
    first_random: false,
    checks: true,
};

impl Slips {
    pub(super) fn respond(&self, model: &Gpt, asked: &Asked) -> Result<[Array; 2]> {
        let n_random = asked.random.dim(0);
        let known = asked.layer < model.n_layers() && asked.target < model.d_vocab();
        ensure!(!self.checks || known && n_random > 0, "there is no such thing");
        let target = asked.target.min(model.d_vocab() - 1);
        let logit =
            |direction: &[f64], dose: f64| self.logit(model, asked, direction, dose, target);
        let plain = logit(asked.direction.values(), 0.0)?;
        let taken = if self.subtracts { plain } else { 0.0 };
        let (mut effects, mut control) = (Vec::new(), Vec::new());
        let tried = if self.first_random { n_random.min(1) } else { n_random };
        for &dose in asked.doses.values() {
            effects.push(logit(asked.direction.values(), dose)? - taken);
            let mut sizes = Vec::new();
            for n in 0..tried {
                let row = asked.random.narrow(0, n, 1);
                let dose = self.control_dose.unwrap_or(dose);
                let effect = logit(row.values(), dose)? - taken;
                sizes.push(if self.signed { effect } else { effect.abs() });
            }
            control.push(self.quantile.of(sizes));
        }
        let dtype = asked.doses.dtype();
        Ok([effects, control].map(|values| Array::vector(&values).to(dtype)))
    }

    fn logit(
        &self,
        model: &Gpt,
        asked: &Asked,
        direction: &[f64],
        dose: f64,
        target: usize,
    ) -> Result<f64> {
        let length: f64 = direction.iter().map(|x| x * x).sum::<f64>().sqrt();
        let length = if self.is_unit { length } else { 1.0 };
        let mut hooks = |hook: Hook, value: Tensor| {
            if hook != Hook::in_block(self.place, asked.layer) {
                return Ok(value);
            }
            let (_, seq, _) = value.dims3()?;
            let first = if self.everywhere { 0 } else { seq - 1 };
            let edit = Array::from_fn(value.dims(), |at| {
                let asked = at[1] >= first;
                if asked { dose * direction[at[2]] / length } else { 0.0 }
            });
            let edit = tensor(&edit).map_err(|error| candle_core::Error::Msg(error.to_string()))?;
            value + edit.to_dtype(asked_dtype(model))?
        };
        let logits = array(&model.forward(&tensor(&asked.tokens)?, &mut hooks)?)?;
        let (batch, last) = (logits.dim(0), logits.dim(1) - 1);
        let batch = if self.first_only { 1 } else { batch };
        Ok((0..batch).map(|row| logits.at(&[row, last, target])).sum::<f64>() / batch as f64)
    }
}

fn asked_dtype(model: &Gpt) -> CandleDType {
    model.weights().iter().next().map_or(CandleDType::F32, |(_, tensor)| tensor.dtype())
}
