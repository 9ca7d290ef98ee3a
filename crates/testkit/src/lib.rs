//! What tests of several rooms share: where material outside of the repository lies, and whether a
//! test may do without it; and a disk that loses its power ([`sim`]). For tests only; no room uses it
//! otherwise.
//!
//! ```no_run
//! if let Some(python) = strongroom_testkit::python() {
//!     std::process::Command::new(python).args(["-m", "bagit", "--version"]).status()?;
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Where something cannot be had, a test says so loudly and is skipped; with `CI=true` it fails, so
//! that a gate never passes for want of what it should have checked.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod fuzz;
pub mod scenario;
pub mod seeds;
pub mod sim;

use std::path::{Path, PathBuf};

pub use strongroom_spool::testing::Random;

/// A Python with bagit 1.9.0, cryptography 50 and blake3, as `tools/test` prepares it.
pub fn python() -> Option<PathBuf> {
    let python = std::env::var_os("STRONGROOM_TEST_PYTHON").map(PathBuf::from);
    python.or_else(|| lacking("a Python with bagit, cryptography and blake3 (run tools/test)"))
}

/// The folder `name` of the conformance material, which stands beside the repository, or in
/// `STRONGROOM_CONFORMANCE`.
pub fn conformance(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance");
    let root = std::env::var_os("STRONGROOM_CONFORMANCE").map_or(beside, PathBuf::from);
    let folder = root.join(name);
    match folder.is_dir() {
        true => Some(folder),
        false => lacking(&format!("conformance material ({})", folder.display())),
    }
}

/// Says that a test is skipped.
///
/// # Panics
/// With `CI=true`, where nothing may be skipped.
pub fn lacking<T>(what: &str) -> Option<T> {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} needs {what}, and CI=true");
    eprintln!("SKIPPED: {test} needs {what}");
    None
}
