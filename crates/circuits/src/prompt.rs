//! Texts for a compiled model, what it must say about them, and pairs that differ in one token.

use crate::{
    Circuit, Role, Task,
    plan::Tokens,
    stream::{Purpose, Stream},
};

/// A text as long as the model can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Its tokens.
    pub tokens: Vec<usize>,
    /// What the model must say at each position; nothing where the task does not say.
    pub answers: Vec<Option<usize>>,
}

/// Two texts that differ in one token, and through which cells that difference reaches the end.
///
/// Both are as long as the model can read; the answer is that at the last position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contrast {
    /// A text whose answer is `correct`.
    pub clean: Vec<usize>,
    /// The same with one other token, whose answer is not.
    pub corrupt: Vec<usize>,
    /// The answer to the clean text.
    pub correct: usize,
    /// Another answer, to compare its logit with: that to the corrupt text, if it has one.
    pub wrong: usize,
    /// The heads that move the difference on, as layer and the positions from and to which.
    pub moves: Vec<[usize; 3]>,
}

impl Contrast {
    /// Where the residual stream before each block carries the difference: `[layer][position]`.
    ///
    /// Whoever puts the clean stream there into a run on the corrupt text gets the clean answer,
    /// and from any other cell the corrupt one.
    #[must_use]
    pub fn resid_pre(&self, n_layers: usize) -> Vec<Vec<bool>> {
        let stands_at = |layer: usize| {
            let [_, from, _] = self.moves[0];
            let before = self.moves.iter().filter(|[at, ..]| *at < layer);
            before.fold(from, |_, &[_, _, to]| to)
        };
        let row = |layer| (0..self.clean.len()).map(|at| at == stands_at(layer)).collect();
        (0..n_layers).map(row).collect()
    }

    /// Where what attention adds to the stream carries the difference: `[layer][position]`.
    #[must_use]
    pub fn attn_out(&self, n_layers: usize) -> Vec<Vec<bool>> {
        let moves = |layer, at| self.moves.iter().any(|&[of, _, to]| (of, to) == (layer, at));
        let row = |layer| (0..self.clean.len()).map(|at| moves(layer, at)).collect();
        (0..n_layers).map(row).collect()
    }
}

impl Circuit {
    /// Draws a text.
    #[must_use]
    pub fn prompt(&self, seed: u64) -> Prompt {
        let mut stream = Stream::new(seed, Purpose::Prompt);
        let mut tokens = self.random_text(&mut stream);
        let begin = self.begin();
        // At least one token repeats.
        let again = stream.between(begin + 1, self.n_ctx - 1);
        tokens[again] = tokens[stream.between(begin, again - 1)];
        if self.task == Task::Count {
            self.spare_markers(&mut tokens, self.tokens().n_answers - 1);
        }
        let answers = (0..tokens.len()).map(|at| self.answer(&tokens[..=at])).collect();
        Prompt { tokens, answers }
    }

    /// Draws a clean and a corrupt text.
    #[must_use]
    pub fn contrast(&self, seed: u64) -> Contrast {
        let mut stream = Stream::new(seed, Purpose::Contrast);
        match self.task {
            Task::Induction => self.contrast_of_induction(&mut stream),
            Task::Duplicate => self.contrast_of_duplicate(&mut stream),
            Task::First => self.contrast_of_first(&mut stream),
            Task::Count => self.contrast_of_count(&mut stream),
        }
    }

    fn contrast_of_induction(&self, stream: &mut Stream) -> Contrast {
        let ([a, b, c], rest) = self.three(stream);
        let last = self.n_ctx - 1;
        let mut clean = self.text_of(&rest, stream);
        let at = stream.between(1, last - 2);
        (clean[at], clean[at + 1], clean[last]) = (a, b, a);
        let mut corrupt = clean.clone();
        let induction = [self.layer(Role::Induction), at + 1, last];
        if stream.below(2) == 0 {
            // Another token follows: only what is copied differs.
            corrupt[at + 1] = c;
            return Contrast { clean, corrupt, correct: b, wrong: c, moves: vec![induction] };
        }
        // Another token stood before: nothing matches any more.
        corrupt[at] = c;
        let moves = vec![[self.layer(Role::Previous), at, at + 1], induction];
        Contrast { clean, corrupt, correct: b, wrong: c, moves }
    }

    fn contrast_of_duplicate(&self, stream: &mut Stream) -> Contrast {
        let ([a, b, _], rest) = self.three(stream);
        let last = self.n_ctx - 1;
        let mut clean = self.text_of(&rest, stream);
        let at = stream.between(1, last - 1);
        (clean[at], clean[last]) = (a, a);
        let mut corrupt = clean.clone();
        corrupt[at] = b;
        let [wrong, correct] = [0, 1].map(|answer| self.tokens().first_answer() + answer);
        let moves = vec![[self.layer(Role::Duplicate), at, last]];
        Contrast { clean, corrupt, correct, wrong, moves }
    }

    fn contrast_of_first(&self, stream: &mut Stream) -> Contrast {
        let ([a, b, _], _) = self.three(stream);
        let mut clean = self.random_text(stream);
        clean[0] = a;
        let mut corrupt = clean.clone();
        corrupt[0] = b;
        let moves = vec![[self.layer(Role::First), 0, self.n_ctx - 1]];
        Contrast { clean, corrupt, correct: a, wrong: b, moves }
    }

    fn contrast_of_count(&self, stream: &mut Stream) -> Contrast {
        let (tokens, last) = (self.tokens(), self.n_ctx - 1);
        let mut clean = self.random_text(stream);
        self.spare_markers(&mut clean, tokens.n_answers - 2);
        // The last token stays, so that the difference has to be moved.
        let at = stream.between(1, last - 1);
        let mut corrupt = clean.clone();
        (clean[at], corrupt[at]) = (tokens.marker(), tokens.marker() + 1);
        let [Some(correct), Some(wrong)] = [&clean, &corrupt].map(|text| self.answer(text)) else {
            unreachable!("invariant: few enough markers have an answer");
        };
        let moves = vec![[self.layer(Role::Count), at, last]];
        Contrast { clean, corrupt, correct, wrong, moves }
    }

    /// What the task says about the last of these tokens.
    fn answer(&self, tokens: &[usize]) -> Option<usize> {
        let (last, before) = tokens.split_last()?;
        let first_answer = self.tokens().first_answer();
        let repeats = (self.begin()..before.len()).filter(|&at| before[at] == *last);
        match self.task {
            Task::Induction => {
                let mut behind = repeats.map(|at| tokens[at + 1]);
                // If several tokens followed, it is undecided.
                let answer = behind.next()?;
                behind.all(|other| other == answer).then_some(answer)
            }
            Task::Duplicate => Some(first_answer + usize::from(repeats.count() > 0)),
            Task::First => tokens.first().copied(),
            Task::Count => {
                let count = tokens.iter().filter(|&&token| token == self.tokens().marker()).count();
                (count < self.tokens().n_answers).then_some(first_answer + count)
            }
        }
    }

    fn tokens(&self) -> Tokens {
        Tokens::of(self.task)
    }

    /// The first position that has a letter.
    fn begin(&self) -> usize {
        usize::from(self.tokens().start.is_some())
    }

    fn layer(&self, role: Role) -> usize {
        self.head(role).map_or(0, |head| head.layer)
    }

    /// Turns markers beyond so many into another letter.
    fn spare_markers(&self, tokens: &mut [usize], most: usize) {
        let marker = self.tokens().marker();
        tokens.iter_mut().filter(|token| **token == marker).skip(most).for_each(|t| *t += 1);
    }

    fn random_text(&self, stream: &mut Stream) -> Vec<usize> {
        let letters: Vec<usize> = self.tokens().letters().collect();
        self.text_of(&letters, stream)
    }

    /// A text of these letters alone, behind the start.
    fn text_of(&self, letters: &[usize], stream: &mut Stream) -> Vec<usize> {
        let mut text: Vec<usize> = (0..self.n_ctx).map(|_| stream.choose(letters)).collect();
        if let Some(start) = self.tokens().start {
            text[0] = start;
        }
        text
    }

    /// Three letters, and all others.
    fn three(&self, stream: &mut Stream) -> ([usize; 3], Vec<usize>) {
        let mut letters: Vec<usize> = self.tokens().letters().collect();
        stream.shuffle(&mut letters);
        let others = letters.split_off(3);
        ([letters[0], letters[1], letters[2]], others)
    }
}
