//! NVIDIA's driver, asked through its own library.
#![allow(unsafe_code, reason = "a foreign library is opened and called")]

use std::{
    ffi::{CStr, c_char, c_int, c_uint},
    path::Path,
};

use libloading::{Library, Symbol};

/// What a driver says of itself and its cards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Driver {
    /// The newest CUDA that it knows: 13000 is CUDA 13.0.
    pub version: i32,
    /// The cards that it shows, in its order.
    pub cards: Vec<Card>,
}

/// A card that can compute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Its name, such as `NVIDIA GeForce RTX 4070`.
    pub name: String,
    /// Its compute capability: 8 and 9 for `8.9`.
    pub capability: (i32, i32),
}

const NO_DEVICE: c_int = 100;
const CAPABILITY_MAJOR: c_int = 75;
const CAPABILITY_MINOR: c_int = 76;
const NAME_BYTES: usize = 256;

/// Asks the library at `path`, or by its name alone as the loader finds it.
///
/// # Errors
///
/// Says which of its answers was an error, or why it cannot be opened.
pub(crate) fn ask(path: &Path) -> Result<Driver, String> {
    // SAFETY: opening NVIDIA's library runs its constructors, as every CUDA program does.
    let library = unsafe { Library::new(path) }.map_err(|error| error.to_string())?;
    let version = number(|value| unsafe {
        let get: Symbol<unsafe extern "C" fn(*mut c_int) -> c_int> =
            library.get(b"cuDriverGetVersion\0")?;
        Ok(get(value))
    })?;
    let initialised = number(|_| unsafe {
        let init: Symbol<unsafe extern "C" fn(c_uint) -> c_int> = library.get(b"cuInit\0")?;
        // No card at all is an answer, not an error.
        Ok(match init(0) {
            NO_DEVICE => 0,
            code => code,
        })
    });
    initialised?;
    let n_cards = number(|value| unsafe {
        let count: Symbol<unsafe extern "C" fn(*mut c_int) -> c_int> =
            library.get(b"cuDeviceGetCount\0")?;
        *value = 0;
        let code = count(value);
        // Not initialised, since there is no card.
        Ok(if code == NO_DEVICE || code == 3 { 0 } else { code })
    })?;
    let cards = (0..n_cards).map(|n| card(&library, n)).collect::<Result<_, _>>()?;
    // Some drivers do not survive being closed.
    std::mem::forget(library);
    Ok(Driver { version, cards })
}

fn card(library: &Library, n: c_int) -> Result<Card, String> {
    let handle = number(|handle| unsafe {
        let get: Symbol<unsafe extern "C" fn(*mut c_int, c_int) -> c_int> =
            library.get(b"cuDeviceGet\0")?;
        Ok(get(handle, n))
    })?;
    let attribute = |which: c_int| {
        number(|value| unsafe {
            let get: Symbol<unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int> =
                library.get(b"cuDeviceGetAttribute\0")?;
            Ok(get(value, which, handle))
        })
    };
    let mut name: [c_char; NAME_BYTES] = [0; NAME_BYTES];
    number(|_| unsafe {
        let get: Symbol<unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int> =
            library.get(b"cuDeviceGetName\0")?;
        Ok(get(name.as_mut_ptr(), NAME_BYTES as c_int - 1, handle))
    })?;
    // SAFETY: the last byte is zero, since the driver was told of one byte less.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned();
    Ok(Card { name, capability: (attribute(CAPABILITY_MAJOR)?, attribute(CAPABILITY_MINOR)?) })
}

/// A number that a call writes, if the call answers 0.
fn number(
    call: impl FnOnce(&mut c_int) -> Result<c_int, libloading::Error>,
) -> Result<c_int, String> {
    let mut value = 0;
    match call(&mut value).map_err(|error| error.to_string())? {
        0 => Ok(value),
        code => Err(format!("the driver answers with its error {code}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_not_there_is_an_error_and_no_panic() {
        assert!(ask(Path::new("/no/such/libcuda.so.1")).is_err());
    }
}
