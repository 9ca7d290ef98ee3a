//! Names of institutions and objects.

use crate::Error;

/// Most bytes of an institution's or an object's name: it becomes a folder's name when restored.
pub const NAME_BYTES_MAX: usize = 200;

/// `institution/name`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ObjectName {
    institution: String,
    name: String,
}

impl ObjectName {
    /// From its two parts.
    pub fn new(institution: &str, name: &str) -> Result<ObjectName, Error> {
        check_institution(institution)?;
        check(name)?;
        Ok(ObjectName { institution: institution.into(), name: name.into() })
    }
    /// The institution's name.
    pub fn institution(&self) -> &str {
        &self.institution
    }
    /// The object's name within it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.institution, self.name)
    }
}

impl std::str::FromStr for ObjectName {
    type Err = Error;
    fn from_str(text: &str) -> Result<ObjectName, Error> {
        let (institution, name) = text.split_once('/').ok_or_else(|| Error::Name {
            name: text.chars().take(NAME_BYTES_MAX).collect(),
            why: "an object is named institution/name",
        })?;
        ObjectName::new(institution, name)
    }
}

/// Whether an institution may have this name: letters, digits, `.`, `_` and `-`, as in a host name,
/// so that it can stand in addresses and paths unescaped.
pub fn check_institution(name: &str) -> Result<(), Error> {
    check(name)?;
    match name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
        true => Ok(()),
        false => Err(Error::Name {
            name: name.into(),
            why: "an institution's name is of letters a-z, digits, `.`, `_` and `-`",
        }),
    }
}

fn check(name: &str) -> Result<(), Error> {
    let bad = |why| Err(Error::Name { name: name.chars().take(NAME_BYTES_MAX).collect(), why });
    match name {
        "" => bad("it is empty"),
        "." | ".." => bad("it means a folder"),
        n if n.len() > NAME_BYTES_MAX => bad("it is longer than 200 bytes"),
        n if n.contains('/') => bad("it contains `/`"),
        n if n.contains('@') => bad("it contains `@`, which stands before a version's number"),
        n if n.chars().any(char::is_control) => bad("it contains a control character"),
        n if n.starts_with('-') => bad("it begins with `-`, like an option"),
        n if n.trim() != n => bad("it begins or ends with white space"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["local/letters", "ex.edu/ä ö", "local/a:b"] {
            assert_eq!(good.parse::<ObjectName>().unwrap().to_string(), good);
        }
        for bad in
            ["letters", "/x", "a/", "a/b/c", "a/..", "a b/c", "a/-x", "a/b@1", "a/b\n", "a/ b"]
        {
            assert!(bad.parse::<ObjectName>().is_err(), "{bad}");
        }
    }
}
