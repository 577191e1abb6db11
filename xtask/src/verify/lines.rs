//! On which line of a TOML file a value stands.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A step on the way to a value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'a> {
    /// Of a table, the value of that name.
    Key(&'a str),
    /// Of a list, the entry at that place.
    At(usize),
}

/// A TOML file, with the place of everything in it.
pub(crate) struct Lines<'t> {
    text: &'t str,
    top: Option<DeValue<'t>>,
}

impl<'t> Lines<'t> {
    /// Takes the text apart; of what is not TOML every line is the first.
    pub(crate) fn of(text: &'t str) -> Self {
        let top = DeTable::parse(text).ok().map(|table| DeValue::Table(table.into_inner()));
        Self { text, top }
    }

    /// The line of a value, or of the last thing on the way to it that is there; from 1.
    pub(crate) fn line(&self, way: &[Step]) -> usize {
        let mut start = 0;
        let mut here = self.top.as_ref();
        for step in way {
            let next: Option<&Spanned<DeValue<'t>>> = here.and_then(|value| match step {
                Step::Key(key) => value.get(*key),
                Step::At(at) => value.get(*at),
            });
            let Some(next) = next else { break };
            start = next.span().start;
            here = Some(next.get_ref());
        }
        self.text[..start].matches('\n').count() + 1
    }
}

/// The line of some text in another; 1 if it is not there.
pub(crate) fn line_of(text: &str, wanted: &str) -> usize {
    text.find(wanted).map_or(1, |at| text[..at].matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "id = 'x'\n\n[[part]]\nname = 'a'\n[[part]]\nname = 'b'\nhints = [\n\
                        'one',\n\
                        'two',\n]\n";

    #[track_caller]
    fn check(way: &[Step], line: usize) {
        assert_eq!(Lines::of(TEXT).line(way), line);
    }

    #[test]
    fn values_have_lines() {
        use Step::{At, Key};
        check(&[Key("id")], 1);
        check(&[Key("part"), At(1), Key("name")], 6);
        check(&[Key("part"), At(1), Key("hints"), At(1)], 9);
    }

    #[test]
    fn what_is_missing_is_where_it_would_be() {
        use Step::{At, Key};
        check(&[Key("part"), At(1), Key("points")], 5);
        check(&[Key("nothing")], 1);
        assert_eq!(Lines::of("= broken").line(&[Key("id")]), 1);
    }
}
