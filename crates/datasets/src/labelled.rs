//! Examples with their classes, and the parts into which they are split.

/// Pictures as grey values, each with its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labelled {
    /// Grey values, picture after picture, row by row.
    pub pixels: Vec<u8>,
    /// The class of each picture.
    pub labels: Vec<u8>,
    /// Grey values of a picture.
    pub n_pixels: usize,
}

/// A part of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// To train on: four of six.
    Train,
    /// To stop and choose by: one of six.
    Valid,
    /// To judge by, never shown to what is judged: one of six.
    Test,
}

impl Labelled {
    /// How many examples there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The grey values of one picture.
    ///
    /// # Panics
    ///
    /// Panics if there is no such picture.
    #[must_use]
    pub fn picture(&self, n: usize) -> &[u8] {
        &self.pixels[n * self.n_pixels..][..self.n_pixels]
    }

    /// One part of the set: of each six examples the fifth is for validation, the sixth for tests.
    ///
    /// Neighbours were written by one hand, so the parts hold the same hands.
    #[must_use]
    pub fn part(&self, split: Split) -> Self {
        let belongs = |n: &usize| match n % 6 {
            4 => split == Split::Valid,
            5 => split == Split::Test,
            _ => split == Split::Train,
        };
        let kept: Vec<usize> = (0..self.len()).filter(belongs).collect();
        Self {
            pixels: kept.iter().flat_map(|&n| self.picture(n)).copied().collect(),
            labels: kept.iter().map(|&n| self.labels[n]).collect(),
            n_pixels: self.n_pixels,
        }
    }
}
