//! Names that a text has several times.

use super::Found;
use crate::analysis::Analysis;

/// Makes the names of a text agree.
pub(super) fn agree(_text: &str, _analysis: &Analysis, _found: &mut [Found]) {}
