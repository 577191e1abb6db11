//! Tables of small whole numbers, separated by commas, the class last.

use crate::Labelled;

/// Reads rows of `n_pixels` grey values and a class.
pub(crate) fn labelled_rows(bytes: &[u8], n_pixels: usize) -> Result<Labelled, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let mut read = Labelled { pixels: Vec::new(), labels: Vec::new(), n_pixels };
    for (n, line) in text.lines().enumerate() {
        let bad = |what: String| format!("line {}: {what}", n + 1);
        let numbers: Result<Vec<u8>, _> = line.split(',').map(str::parse).collect();
        let mut numbers = numbers.map_err(|error| bad(error.to_string()))?;
        let found = numbers.len();
        let Some(label) = numbers.pop().filter(|_| found == n_pixels + 1) else {
            return Err(bad(format!("{found} numbers, not {}", n_pixels + 1)));
        };
        read.pixels.extend(numbers);
        read.labels.push(label);
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, said: &str) {
        let read = labelled_rows(text.as_bytes(), 2);
        let found = match read {
            Ok(read) => format!("{:?} {:?}", read.pixels, read.labels),
            Err(why) => why,
        };
        assert_eq!(found, said);
    }

    #[test]
    fn the_last_number_is_the_class() {
        check("1,2,9\n3,4,8\n", "[1, 2, 3, 4] [9, 8]");
        check("", "[] []");
    }

    #[test]
    fn bad_lines_are_named() {
        check("1,2,9\n3,4\n", "line 2: 2 numbers, not 3");
        check("1,2,9\n3,,4\n", "line 2: cannot parse integer from empty string");
        check("1,256,9\n", "line 1: number too large to fit in target type");
    }
}
