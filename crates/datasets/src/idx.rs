//! The idx format of the MNIST family: a magic number, the lengths of the axes, the bytes.
//!
//! **Invariant:** the lengths are compared with the bytes that are there before any is used.

use crate::Labelled;

/// Bytes of one number in a header.
const WORD: usize = 4;

/// Puts pictures and their classes together.
pub(crate) fn labelled_images(images: &[u8], labels: &[u8]) -> Result<Labelled, String> {
    let ([n_images, rows, columns], pixels) = unsigned_bytes(images)?;
    let ([n_labels], labels) = unsigned_bytes(labels)?;
    if n_images != n_labels {
        return Err(format!("{n_images} pictures but {n_labels} classes"));
    }
    let (pixels, labels) = (pixels.to_vec(), labels.to_vec());
    Ok(Labelled { pixels, labels, n_pixels: rows * columns })
}

/// Takes an array of bytes with `N` axes apart.
fn unsigned_bytes<const N: usize>(bytes: &[u8]) -> Result<([usize; N], &[u8]), String> {
    let number = |n: usize| {
        let word = bytes.get(n * WORD..)?.first_chunk()?;
        Some(u32::from_be_bytes(*word) as usize)
    };
    // Two zeros, 8 for unsigned bytes, the number of axes.
    let magic = 0x0800 + N;
    match number(0) {
        Some(found) if found == magic => {}
        found => return Err(format!("the magic number is {found:x?}, not {magic:x}")),
    }
    let mut shape = [0; N];
    for (axis, length) in shape.iter_mut().enumerate() {
        *length = number(1 + axis).ok_or("the header is cut")?;
    }
    let rest = bytes.get((1 + N) * WORD..).unwrap_or_default();
    let count = shape.iter().try_fold(1usize, |count, &length| count.checked_mul(length));
    if count != Some(rest.len()) {
        return Err(format!("{} bytes do not fill {shape:?}", rest.len()));
    }
    Ok((shape, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(magic: u32, shape: &[u32], n_bytes: usize) -> Vec<u8> {
        let header = std::iter::once(magic).chain(shape.iter().copied());
        header.flat_map(u32::to_be_bytes).chain((0..n_bytes).map(|n| n as u8)).collect()
    }

    #[track_caller]
    fn check(images: &[u8], labels: &[u8], said: &str) {
        let read = labelled_images(images, labels);
        let found = read.map_or_else(|why| why, |read| format!("{read:?}"));
        assert!(found.contains(said), "{found}");
    }

    #[test]
    fn pictures_and_classes_come_together() {
        let images = file(0x0803, &[2, 1, 2], 4);
        check(&images, &file(0x0801, &[2], 2), "pixels: [0, 1, 2, 3], labels: [0, 1], n_pixels: 2");
        check(&images, &file(0x0801, &[3], 3), "2 pictures but 3 classes");
    }

    #[test]
    fn what_is_no_idx_is_refused() {
        let labels = file(0x0801, &[2], 2);
        check(&[], &labels, "the magic number is None, not 803");
        check(&file(0x0801, &[2], 2), &labels, "not 803");
        check(&file(0x0803, &[2, 1], 0), &labels, "the header is cut");
        check(&file(0x0803, &[2, 1, 2], 3), &labels, "3 bytes do not fill [2, 1, 2]");
        check(&file(0x0803, &[u32::MAX; 3], 3), &labels, "3 bytes do not fill");
    }
}
