//! Who asks, and whether they may: every call is checked here against the one table.

use crate::Error;
use crate::permit::{Action, HOUSE, Scope, Whose, allows};
use axum::http::{HeaderMap, header};
use strongroom_intake::Code;
use strongroom_record::{InstitutionId, Sha256, Time, json::bytes};
use strongroom_registry::{Account, AccountState, Bearer, Role};

/// What every token begins with, so that one that got lost is known for what it is.
pub const TOKEN_PREFIX: &str = "srt_";
/// Bytes of a token's secret.
const SECRET_BYTES: usize = 32;

/// A new token, as it is shown.
pub(crate) fn new_secret() -> String {
    let mut secret = [0; SECRET_BYTES];
    getrandom::fill(&mut secret).expect("the system's random source works");
    format!("{TOKEN_PREFIX}{}", bytes::hex(&secret))
}

/// What is kept of a token; `None` for what cannot be one.
pub(crate) fn secret_hash(shown: &str) -> Option<Sha256> {
    let secret = shown.strip_prefix(TOKEN_PREFIX)?;
    let is_one = secret.len() == 2 * SECRET_BYTES && secret.bytes().all(|b| b.is_ascii_hexdigit());
    is_one.then(|| Sha256::of(shown.as_bytes()))
}

/// What is kept of the token that headers show.
pub(crate) fn secret_of(headers: &HeaderMap) -> Result<Sha256, Error> {
    let refused = |why: &str| Error::refused(Code::Unauthorized, why);
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = shown.ok_or_else(|| refused("no token was shown"))?;
    let token = match shown.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => return Err(refused("a token is shown as `Authorization: Bearer TOKEN`")),
    };
    secret_hash(token).ok_or_else(|| refused("this is no token"))
}

/// Who asks.
#[derive(Clone, Debug)]
pub enum Who {
    /// Whoever can open the archive's folder: may do everything.
    Local,
    /// An account, by a token.
    Account(Box<Caller>),
    /// Somebody without a token: may do nothing that a token is asked for.
    Nobody,
}

/// An account that showed a token which counts.
#[derive(Clone, Debug)]
pub struct Caller {
    pub(crate) account: Account,
    pub(crate) institution_name: String,
    pub(crate) role: Role,
    pub(crate) token: [u8; 16],
    /// The token can only be exchanged.
    pub(crate) once: bool,
    pub(crate) scopes: Vec<Scope>,
}

impl Caller {
    /// Whoever stands behind a token, if it counts at this moment.
    pub(crate) fn of(bearer: Bearer, now: Time) -> Result<Caller, Error> {
        let refused = |why| Error::refused(Code::Unauthorized, why);
        let Bearer { token, account, institution_name } = bearer;
        if !token.counts(now) {
            return Err(refused("the token was revoked, used up, or has expired"));
        }
        if account.state != AccountState::Active.word() {
            return Err(refused("the account is disabled"));
        }
        let role = Role::parse(&account.role)?;
        // A word that this program does not know gives nothing.
        let known = |word| Scope::ALL.iter().copied().find(|s: &Scope| s.word() == word);
        let scopes = token.scopes.split_whitespace().filter_map(known).collect();
        Ok(Caller { account, institution_name, role, token: token.id, once: token.once, scopes })
    }
}

impl Who {
    fn nobody<T>() -> Result<T, Error> {
        Err(Error::refused(Code::Unauthorized, "no token was shown"))
    }

    /// The account that asks, where one does.
    pub(crate) fn account(&self) -> Option<&Account> {
        match self {
            Who::Account(caller) => Some(&caller.account),
            Who::Local | Who::Nobody => None,
        }
    }

    /// Refuses what may not be done to this institution.
    pub(crate) fn may(&self, action: Action, institution: InstitutionId) -> Result<(), Error> {
        match self {
            Who::Local => Ok(()),
            Who::Nobody => Who::nobody(),
            Who::Account(caller) => match caller.account.institution == institution {
                true => self.check(caller, action, Whose::Own),
                false => self.check(caller, action, Whose::Others),
            },
        }
    }

    /// As [`Who::may`], where only the institution's name is known, be there one or not: whether there
    /// is one is not told to who may not know.
    pub(crate) fn may_by_name(&self, action: Action, institution: &str) -> Result<(), Error> {
        match self {
            Who::Local => Ok(()),
            Who::Nobody => Who::nobody(),
            Who::Account(caller) if caller.institution_name == institution => {
                self.check(caller, action, Whose::Own)
            }
            Who::Account(caller) => self.check(caller, action, Whose::Others),
        }
    }

    /// Refuses what may not be done to the archive as a whole.
    pub(crate) fn may_in_archive(&self, action: Action) -> Result<(), Error> {
        match self {
            Who::Local => Ok(()),
            Who::Nobody => Who::nobody(),
            Who::Account(caller) => self.check(caller, action, Whose::Others),
        }
    }

    /// Refuses what the account that asks may not do to what is its own.
    pub(crate) fn may_to_itself(&self, action: Action) -> Result<(), Error> {
        match self {
            Who::Local => Ok(()),
            Who::Nobody => Who::nobody(),
            Who::Account(caller) => self.check(caller, action, Whose::Own),
        }
    }

    /// Of which institution a list may tell where none was named: of all (`None`), or of the caller's.
    pub(crate) fn all_or_own(&self, action: Action) -> Result<Option<InstitutionId>, Error> {
        match self {
            Who::Local => Ok(None),
            Who::Nobody => Who::nobody(),
            Who::Account(_) if self.may_in_archive(action).is_ok() => Ok(None),
            Who::Account(caller) => {
                let own = caller.account.institution;
                self.check(caller, action, Whose::Own).map(|()| Some(own))
            }
        }
    }

    /// The institution that is meant where none is named.
    pub(crate) fn institution_name(&self) -> &str {
        match self {
            Who::Local | Who::Nobody => HOUSE,
            Who::Account(caller) => &caller.institution_name,
        }
    }

    fn check(&self, caller: &Caller, action: Action, whose: Whose) -> Result<(), Error> {
        let refused = |why: String| Err(Error::refused(Code::Forbidden, why));
        if caller.once {
            return refused("a one-time token can only be exchanged for a lasting one".into());
        }
        if !caller.scopes.contains(&action.scope()) {
            return refused(format!("the token lacks the scope `{}`", action.scope().word()));
        }
        if !allows(caller.role, caller.institution_name == HOUSE, action, whose) {
            return refused(format!(
                "{}/{}, {}, may not do this here: {}",
                caller.institution_name,
                caller.account.name,
                caller.role,
                action.word()
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_a_token_is_looked_up() {
        let shown = new_secret();
        assert_eq!(secret_hash(&shown), Some(Sha256::of(shown.as_bytes())));
        assert_ne!(shown, new_secret());
        for bad in ["", "srt_", "srt_zz", &shown[4..], &format!("{shown}0"), "srt_é"] {
            assert_eq!(secret_hash(bad), None, "{bad}");
        }
    }
}
