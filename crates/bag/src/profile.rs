//! x
#[derive(Clone, Debug)] pub struct Profile;
pub struct Seen<'a> { pub facts: &'a crate::rules::Facts, pub container: crate::source::Container, pub base: &'a [u8], pub file_name: Option<&'a [u8]>, pub tag_files: &'a [Vec<u8>] }
impl Profile { pub fn tag_files(&self) -> Vec<String> { vec![] } pub fn check(&self, _s: &Seen<'_>) -> Vec<crate::Problem> { vec![] } }
