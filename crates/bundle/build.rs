//! Has the library find what it calls within itself when it is linked, rather than each time when
//! an answer starts.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo::rustc-link-arg=-Wl,-Bsymbolic");
    }
}
